//! The doors of the listener: TCP, a Unix socket, or what systemd hands over; and how many may come through them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use tokio::io::{AsyncRead, AsyncWrite};

use super::sources::Peer;
use crate::config::ListenAddress;

/// Connections that may wait to be accepted. The standard library's 128 overflow in a burst, which costs a client
/// a second; the kernel holds it to its own bound (`net.core.somaxconn`).
const BACKLOG: i32 = 4_096;
/// Who may speak through a Unix socket that we make: the user and the group of this process.
const UNIX_MODE: u32 = 0o660;
/// Descriptors kept for everything else: the database (a pool of ten or so), the providers' connections, the
/// workers' lines (three each), logs. Of a low limit half is kept.
const DESCRIPTORS_KEPT: usize = 192;

/// One listening socket.
pub(super) enum Door {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener, #[expect(dead_code, reason = "kept for its drop")] Option<Made>),
}

/// A socket file that we made, and remove in the end.
pub(super) struct Made {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for Made {
    fn drop(&mut self) {
        // Only ours: by now another process may have put its own there.
        if std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode))
        {
            // At the next start it would be found to be stale.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A connection and who is at its other end.
pub(super) struct Accepted {
    pub(super) stream: Box<dyn Wire>,
    pub(super) peer: Peer,
}

/// A connection of either kind.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<W: AsyncRead + AsyncWrite + Unpin + Send> Wire for W {}

impl Door {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers go out whole; holding back their last packet only costs time. If it fails it is slower.
                let _ = stream.set_nodelay(true);
                Ok(Accepted { stream: Box::new(stream), peer: Peer::Address(address.ip()) })
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted { stream: Box::new(stream), peer: Peer::Unix })
            }
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

/// A socket that listens and is not yet part of a runtime.
pub(super) enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, Option<Made>),
}

impl Bound {
    /// Makes it part of the present runtime.
    pub(super) fn open(self) -> io::Result<Door> {
        // What systemd hands over may block or not, as its unit says.
        Ok(match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Door::Tcp(tokio::net::TcpListener::from_std(listener)?)
            }
            Self::Unix(listener, made) => {
                listener.set_nonblocking(true)?;
                Door::Unix(tokio::net::UnixListener::from_std(listener)?, made)
            }
        })
    }
}

/// Listens at an address; the error says what to do.
pub(super) fn bind(address: &ListenAddress) -> Result<Vec<Bound>, String> {
    match address {
        ListenAddress::Tcp(address) => {
            let listener = TcpListener::bind(address).map_err(|error| {
                format!("cannot listen at {address}: {error}; choose another [listen] address, or end who has it")
            })?;
            // A second call sets the backlog anew; without it the first one's stands.
            let _ = rustix::net::listen(&listener, BACKLOG);
            Ok(vec![Bound::Tcp(listener)])
        }
        ListenAddress::Unix(path) => {
            let shown = path.display();
            clear(path)?;
            let fault = |error: io::Error| format!("cannot listen at unix:{shown}: {error}");
            let listener = UnixListener::bind(path).map_err(fault)?;
            let _ = rustix::net::listen(&listener, BACKLOG);
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(UNIX_MODE)).map_err(fault)?;
            let found = std::fs::symlink_metadata(path).map_err(fault)?;
            let made = Made { path: path.clone(), device: found.dev(), inode: found.ino() };
            Ok(vec![Bound::Unix(listener, Some(made))])
        }
        ListenAddress::Systemd => handed_over(),
    }
}

/// Removes what a process that is no more has left: a socket that nobody listens on, and nothing else.
fn clear(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot listen at unix:{shown}: {error}")),
    };
    if !found.file_type().is_socket() {
        return Err(format!("cannot listen at unix:{shown}: there is a file that is no socket; move it away"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| format!("cannot remove the stale socket unix:{shown}: {error}"))
        }
        _ => Err(format!("cannot listen at unix:{shown}: another process does")),
    }
}

/// The sockets that systemd hands over. Once only: they are this process's first and last.
fn handed_over() -> Result<Vec<Bound>, String> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Err("systemd's sockets are in use already; restart to listen anew".to_owned());
    }
    let mut handed = listenfd::ListenFd::from_env();
    let mut bound = Vec::new();
    for number in 0..handed.len() {
        let unix = handed.take_unix_listener(number).ok().flatten().map(|listener| Bound::Unix(listener, None));
        let found = match unix {
            Some(found) => Some(found),
            None => handed.take_tcp_listener(number).ok().flatten().map(Bound::Tcp),
        };
        let what = "is no listening stream socket; the socket unit must say ListenStream= and Accept=no";
        bound.push(found.ok_or_else(|| format!("socket {} of those that systemd handed over {what}", number + 1))?);
    }
    if bound.is_empty() {
        return Err("[listen] address is \"systemd\", but systemd handed over no socket; start evenkeel.socket, or \
                    write an address"
            .to_owned());
    }
    Ok(bound)
}

/// Raises the limit of open files as far as it goes, and answers how many of `wanted` connections fit in it.
pub(super) fn room_for(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is no limit at all. A limit that cannot be raised stands.
    let raised = current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let limit = if raised { maximum } else { current };
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let room = limit - DESCRIPTORS_KEPT.min(limit / 2);
    if room < wanted {
        log::warn!(
            "listener: {limit} open files are allowed, so at most {room} connections instead of {wanted}; raise \
             LimitNOFILE"
        );
    }
    wanted.min(room)
}
