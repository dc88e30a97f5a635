//! A throw-away PostgreSQL for one test binary: its own directory, its own port, gone when the binary is gone.
//!
//! Started from the installed binaries when first asked for, never as root, with a database of its own for every
//! caller. A small shell stands between: it holds the server's process id and a pipe to us, and when the pipe closes,
//! however we ended, it stops the server and removes the directory. Without binaries the tests say loudly that they did
//! not run; with `EVENKEEL_REQUIRE_POSTGRES=1` that is a failure.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use evenkeel::config::{DatabaseUrl, PostgresTls, PostgresUrl, Secret};

/// The superuser of the throw-away server, and its password over TCP (the Unix socket asks for none).
pub const USER: &str = "evenkeel";
pub const PASSWORD: &str = "correct horse";

/// The variable that makes a missing server a failure.
const REQUIRE: &str = "EVENKEEL_REQUIRE_POSTGRES";

/// The server of this test binary.
pub struct Server {
    /// Its directory: data, socket, log.
    pub directory: PathBuf,
    /// Its port, on 127.0.0.1 and in the socket's name.
    pub port: u16,
    /// The certificate authority that vouches for it as `localhost`; `None` if this PostgreSQL was built without TLS.
    pub ca_file: Option<PathBuf>,
    /// The shell that guards it; its standard input is the pipe that says that we live.
    guard: Mutex<Guard>,
}

/// The shell, and what it says.
struct Guard {
    shell: Child,
    says: BufReader<ChildStdout>,
}

/// A new, empty database on the shared server; `None` where there are no binaries, which is said once.
pub fn database() -> Option<DatabaseUrl> {
    let server = server()?;
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    execute(&server.url("postgres"), &format!("CREATE DATABASE {name}"));
    Some(server.url(&name))
}

/// A server of the caller's own, that may be restarted and keeps what it has committed; `None` where there are no binaries, which is said once.
pub fn own() -> Option<Server> {
    server()?;
    let binaries = binaries()?;
    Some(start(&binaries, true).unwrap_or_else(|why| panic!("starting PostgreSQL: {why}")))
}

/// The shared server; `None` where there are no binaries, which is said once.
pub fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| match binaries() {
            Some(binaries) => Some(start(&binaries, false).unwrap_or_else(|why| panic!("starting PostgreSQL: {why}"))),
            None => {
                let why = "no initdb and postgres in PATH, /usr/lib/postgresql/*/bin or the other usual places";
                assert!(std::env::var(REQUIRE).as_deref() != Ok("1"), "{REQUIRE}=1, but {why}");
                // Written past the test harness, which would swallow it.
                let _ = writeln!(std::io::stderr(), "\nPOSTGRES TESTS DID NOT RUN: {why}\n");
                None
            }
        })
        .as_ref()
}

impl Server {
    /// A new, empty database on it.
    pub fn database(&self, name: &str) -> DatabaseUrl {
        execute(&self.url("postgres"), &format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// Ends it as a crash does, every connection with it, and starts it again; it answers by then.
    pub fn restart(&self) {
        let mut guard = self.guard.lock().expect("the guard");
        let Guard { shell, says } = &mut *guard;
        writeln!(shell.stdin.as_mut().expect("it was piped"), "restart").expect("the guard listens");
        let mut word = String::new();
        says.read_line(&mut word).expect("the guard answers");
        assert_eq!(word.trim(), "ready", "the server did not come back");
    }

    /// A database of it, through its Unix socket.
    pub fn url(&self, database: &str) -> DatabaseUrl {
        DatabaseUrl::Postgres(Box::new(PostgresUrl {
            host: self.directory.to_str().expect("our own directory's name is plain").to_owned(),
            ..self.tcp(database)
        }))
    }

    /// A database of it, through TCP and with a password.
    pub fn tcp(&self, database: &str) -> PostgresUrl {
        PostgresUrl {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: USER.to_owned(),
            password: Some(Secret::new(PASSWORD.to_owned())),
            database: database.to_owned(),
            tls: PostgresTls::Off,
            ca_file: None,
        }
    }
}

/// Runs statements on a database, past the store.
pub fn execute(url: &DatabaseUrl, sql: &str) {
    with_client(url, async |client| client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")));
}

/// The single number a query answers, past the store.
pub fn number(url: &DatabaseUrl, sql: &str) -> i64 {
    with_client(url, async |client| {
        client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    })
}

fn with_client<T>(url: &DatabaseUrl, work: impl AsyncFnOnce(tokio_postgres::Client) -> T) -> T {
    let DatabaseUrl::Postgres(server) = url else { panic!("{url} is no PostgreSQL") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&server.host).port(server.port).user(USER).dbname(&server.database);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("the throw-away server answers");
        tokio::spawn(connection);
        work(client).await
    })
}

/// Where initdb and postgres lie.
fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = |parent: &str| {
        let mut found: Vec<PathBuf> =
            fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
        found.sort();
        found.reverse(); // The newest first.
        found
    };
    for parent in ["/usr/lib/postgresql", "/usr/local/opt", "/opt/homebrew/opt"] {
        places.extend(versions(parent));
    }
    places.extend(["/usr/local/pgsql/bin", "/usr/pgsql/bin", "/usr/libexec/postgresql"].map(PathBuf::from));
    places.into_iter().find(|place| place.join("initdb").is_file() && place.join("postgres").is_file())
}

/// A command that runs as somebody who may run PostgreSQL: ourselves, or as root a lesser user.
struct Runner {
    words: Vec<String>,
    owner: Option<(u32, u32)>,
}

impl Runner {
    fn find() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { words: Vec::new(), owner: None });
        }
        let id = |flag: &str, user: &str| {
            let said = Command::new("id").args([flag, user]).output().ok().filter(|said| said.status.success())?;
            String::from_utf8(said.stdout).ok()?.trim().parse::<u32>().ok()
        };
        let (user, uid, gid) = ["postgres", "nobody"]
            .into_iter()
            .find_map(|user| Some((user, id("-u", user)?, id("-g", user)?)))
            .ok_or("we are root, and there is neither a user postgres nor nobody to step down to")?;
        let has = |tool: &str| Command::new(tool).arg("--help").output().is_ok();
        let words: Vec<String> = if has("setpriv") {
            ["setpriv".to_owned(), format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]
                .into()
        } else if has("runuser") {
            ["runuser", "-u", user, "--"].map(str::to_owned).into()
        } else {
            return Err("we are root, and there is neither setpriv nor runuser to step down with".to_owned());
        };
        Ok(Self { words, owner: Some((uid, gid)) })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = match self.words.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.env("LC_ALL", "C").current_dir("/");
        command
    }
}

fn start(binaries: &Path, keeps: bool) -> Result<Server, String> {
    let runner = Runner::find()?;
    // Short: a Unix socket's path may have 107 bytes. The guard removes it.
    let directory =
        tempfile::Builder::new().prefix("evenkeel-pg-").tempdir_in("/tmp").map_err(|e| e.to_string())?.keep();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
    let passwords = directory.join("password");
    fs::write(&passwords, PASSWORD).map_err(|e| e.to_string())?;
    if let Some((uid, gid)) = runner.owner {
        for path in [&directory, &passwords] {
            chown(path, Some(uid), Some(gid)).map_err(|e| e.to_string())?;
        }
    }
    let (key, certificate, authority) = certificates();
    for (name, text) in [("key.pem", &key), ("certificate.pem", &certificate), ("ca.pem", &authority)] {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|e| e.to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(|e| e.to_string())?;
        if let Some((uid, gid)) = runner.owner {
            chown(&path, Some(uid), Some(gid)).map_err(|e| e.to_string())?;
        }
    }
    let data = directory.join("data");
    let made = runner
        .command(&binaries.join("initdb"))
        .arg("-D")
        .arg(&data)
        .args(["-U", USER, "-E", "UTF8", "--no-locale", "--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256"])
        .arg("--pwfile")
        .arg(&passwords)
        .output()
        .map_err(|e| format!("initdb: {e}"))?;
    if !made.status.success() {
        let _ = fs::remove_dir_all(&directory);
        return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
    }
    // The system gives out a free port; that somebody takes it in between is possible and has another try.
    let mut failure = String::new();
    let mut tls = true;
    for _ in 0..5 {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(|e| e.to_string())?.port();
        match serve(binaries, &runner, &directory, &data, port, tls, keeps) {
            Ok(guard) => {
                let ca_file = tls.then(|| directory.join("ca.pem"));
                return Ok(Server { directory, port, ca_file, guard: Mutex::new(guard) });
            }
            Err(why) => {
                tls = tls && !why.contains("SSL is not supported by this build");
                failure = why;
            }
        }
    }
    let _ = fs::remove_dir_all(&directory);
    Err(failure)
}

/// Starts the server behind its guard, and waits until it answers or has died. One that `keeps` has written what it
/// committed before it says so, and loses nothing when it is ended; the current may not fail all the same.
fn serve(
    binaries: &Path,
    runner: &Runner,
    directory: &Path,
    data: &Path,
    port: u16,
    tls: bool,
    keeps: bool,
) -> Result<Guard, String> {
    let log = directory.join(format!("log-{port}"));
    // The eighth line of postmaster.pid says when it accepts connections. `read` ends when we do, in whatever way;
    // a line is the wish for a restart.
    // SIGQUIT is "stop at once".
    let script = r#"
        serve() {
            "$1" -D "$2" -p "$3" -k "$4" -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=$7 \
                -c full_page_writes=off -c max_connections=300 -c shared_buffers=32MB -c jit=off \
                -c ssl=$6 -c ssl_key_file="$4/key.pem" -c ssl_cert_file="$4/certificate.pem" </dev/null >>"$5" 2>&1 &
            server=$!
            state=silent
            for _ in $(seq 1 1200); do
                if ! kill -0 $server 2>/dev/null; then state=dead; break; fi
                if [ "$(sed -n 8p "$2/postmaster.pid" 2>/dev/null | tr -d ' ')" = ready ]; then state=ready; break; fi
                sleep 0.05
            done
            echo $state
        }
        trap '' INT TERM HUP
        serve "$@"
        served=$state
        while [ $state = ready ] && read -r _; do
            kill -QUIT $server
            wait $server
            serve "$@"
        done
        kill -QUIT $server
        wait $server
        if [ $served = ready ]; then rm -rf "$4"; fi
    "#;
    let mut guard = runner
        .command(Path::new("/bin/sh"))
        .args(["-c", script, "guard"])
        .arg(binaries.join("postgres"))
        .arg(data)
        .arg(port.to_string())
        .arg(directory)
        .arg(&log)
        .arg(if tls { "on" } else { "off" })
        .arg(if keeps { "on" } else { "off" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Of its own group, so that Ctrl-C ends us and not, before its work is done, the guard.
        .process_group(0)
        .spawn()
        .map_err(|e| format!("the guard: {e}"))?;
    let mut word = String::new();
    let mut says = BufReader::new(guard.stdout.take().expect("it was piped"));
    says.read_line(&mut word).map_err(|e| format!("the guard: {e}"))?;
    if word.trim() == "ready" {
        return Ok(Guard { shell: guard, says });
    }
    let _ = guard.wait();
    Err(format!("the server is {}: {}", word.trim(), fs::read_to_string(&log).unwrap_or_default()))
}

/// A key, the certificate of `localhost` for it, and the authority that signed that; all in PEM, new every time.
pub fn certificates() -> (String, String, String) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = certificate.signed_by(&key, &authority).expect("a certificate");
    (key.serialize_pem(), certificate.pem(), authority.pem())
}
