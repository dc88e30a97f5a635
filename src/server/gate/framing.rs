//! Where a request ends, and whether that can be said at all: the framing of HTTP/1, strict and pure.
//!
//! Bytes in, verdict out, a piece at a time. Whatever two readers could understand in two ways is refused:
//! a server that guesses can be made to see other requests than the proxy in front of it does. `httparse`
//! reads the lines; what it is lenient about (bare line feeds) and what it leaves to its caller (lengths,
//! encodings, hosts) is checked here. hyper was considered and dropped: it takes bare line feeds, and of a
//! length together with chunks it silently believes the chunks.
//!
//! Stricter than RFC 9112 where no sender that matters notices: text is ASCII, targets begin with a slash (no
//! proxy form), and a chunked body has no trailers.

use std::fmt;

/// The most header lines that can be asked for.
pub const HEADERS_MAX: usize = 256;
/// The longest line that says a chunk's size, in bytes, extensions among it: 8 hex digits are 4 GiB, and
/// extensions, which nobody uses, are skipped.
const CHUNK_LINE_MAX: usize = 128;

/// Why bytes are not a request that can be served. The connection is closed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the message says it")]
pub enum Fault {
    HeadTooLarge,
    TooManyHeaders,
    BareLineEnd,
    Folded,
    BadByte,
    BadRequestLine,
    BadVersion,
    BadTarget,
    BadHeader,
    NoHost,
    BadHost,
    BadLength,
    TwoLengths,
    LengthAndEncoding,
    BadEncoding,
    BadExpectation,
    BadChunk,
    Trailers,
    BodyTooLarge,
}

impl Fault {
    /// The status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::BadVersion => 505,
            Self::BadExpectation => 417,
            Self::BodyTooLarge => 413,
            _ => 400,
        }
    }

    /// The word for it in the answer.
    pub const fn code(self) -> &'static str {
        match self {
            Self::HeadTooLarge | Self::TooManyHeaders => "head_too_large",
            Self::BadVersion => "version_not_supported",
            Self::BadExpectation => "expectation_failed",
            Self::BodyTooLarge => "body_too_large",
            _ => "bad_request",
        }
    }

    /// What is wrong, for a person.
    pub const fn message(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "the head of the request is too large",
            Self::TooManyHeaders => "too many header lines",
            Self::BareLineEnd => "a line does not end in CR LF",
            Self::Folded => "a header is folded over several lines",
            Self::BadByte => "a byte that has no place in the head of a request",
            Self::BadRequestLine => "the first line is not that of an HTTP request",
            Self::BadVersion => "HTTP/1.1 and HTTP/1.0 are spoken here",
            Self::BadTarget => "the target is not a path",
            Self::BadHeader => "a header line is malformed",
            Self::NoHost => "the Host header is missing",
            Self::BadHost => "the Host header is malformed or there are several",
            Self::BadLength => "Content-Length is not a number",
            Self::TwoLengths => "there are several Content-Length headers",
            Self::LengthAndEncoding => "both Content-Length and Transfer-Encoding are given",
            Self::BadEncoding => "Transfer-Encoding is not chunked, once",
            Self::BadExpectation => "only 100-continue can be expected",
            Self::BadChunk => "a chunk is malformed",
            Self::Trailers => "headers behind the body are not read",
            Self::BodyTooLarge => "the body is too large",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.message())
    }
}

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// The head of a request, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedHead {
    /// The method, a token as it came.
    pub method: String,
    /// The path with its query: `/` and what follows, or `*`.
    pub target: String,
    /// Names in lower case with their values, in order; those about the connection and the framing left out.
    pub headers: Vec<(String, String)>,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether it is HTTP/1.0.
    pub old: bool,
    /// Whether the sender wants to go on using the connection.
    pub keep_alive: bool,
    /// Whether the sender waits to be told to go on before it sends the body.
    pub expects_continue: bool,
}

/// Looks for the end of a head while it arrives; each byte is looked at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    seen: usize,
}

impl HeadScan {
    /// Looks at the bytes not seen yet; `bytes` is everything since the beginning of the head. Answers the
    /// length of the head once it is whole.
    ///
    /// # Errors
    /// As soon as the head can no longer become a good one.
    pub fn find(&mut self, bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, Fault> {
        while let Some(&byte) = bytes.get(self.seen) {
            let at = self.seen;
            if at >= bytes_max {
                return Err(Fault::HeadTooLarge);
            }
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            match byte {
                b'\n' if before != Some(&b'\r') => return Err(Fault::BareLineEnd),
                _ if before == Some(&b'\r') && byte != b'\n' => return Err(Fault::BareLineEnd),
                b' ' | b'\t' if before == Some(&b'\n') => return Err(Fault::Folded),
                b'\n' if at >= 3 && bytes.get(at - 3..at) == Some(b"\r\n\r") => {
                    self.seen = at + 1;
                    return Ok(Some(self.seen));
                }
                b'\t' | b'\r' | b'\n' | b' '..=b'~' => {}
                _ => return Err(Fault::BadByte),
            }
            self.seen = at + 1;
        }
        Ok(None)
    }
}

/// Reads a whole head, as [`HeadScan`] found it.
///
/// # Errors
/// On everything that is not clearly one request.
pub fn parse_head(bytes: &[u8], headers_max: usize) -> Result<ParsedHead, Fault> {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let lines = lines.get_mut(..headers_max).unwrap_or(&mut []);
    let mut request = httparse::Request::new(lines);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Fault::BadRequestLine),
        Err(error) => {
            return Err(match error {
                httparse::Error::TooManyHeaders => Fault::TooManyHeaders,
                httparse::Error::HeaderName | httparse::Error::HeaderValue => Fault::BadHeader,
                httparse::Error::NewLine => Fault::BareLineEnd,
                httparse::Error::Version => version_fault(bytes),
                httparse::Error::Token | httparse::Error::Status => Fault::BadRequestLine,
            });
        }
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Fault::BadRequestLine);
    };
    let old = version == 0;
    let star = target == "*" && method == "OPTIONS";
    if !(star || target.starts_with('/')) || target.contains('#') || !target.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(Fault::BadTarget);
    }
    let mut about = Transfer::default();
    let mut headers = Vec::with_capacity(request.headers.len());
    for line in &*request.headers {
        let name = line.name.to_ascii_lowercase();
        let value = std::str::from_utf8(line.value).map_err(|_| Fault::BadByte)?.trim_matches([' ', '\t']);
        if about.note(&name, value)? {
            headers.push((name, value.to_owned()));
        }
    }
    let Transfer { hosts, length, encoded, closes, keeps, expects } = about;
    if hosts == 0 && !old {
        return Err(Fault::NoHost);
    }
    let framing = match (length, encoded) {
        (Some(_), true) => return Err(Fault::LengthAndEncoding),
        // HTTP/1.0 knows no chunks: what stands in front of us may have read this differently.
        (None, true) if old => return Err(Fault::BadEncoding),
        (None, true) => Framing::Chunked,
        (Some(0) | None, false) => Framing::None,
        (Some(length), false) => Framing::Length(length),
    };
    Ok(ParsedHead {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        framing,
        old,
        keep_alive: !closes && (!old || keeps),
        // HTTP/1.0 knows no 100 either, and without a body there is nothing to wait for.
        expects_continue: expects && !old && framing != Framing::None,
    })
}

/// A version of another kind of HTTP is told which ones are spoken here; anything else is no request.
fn version_fault(bytes: &[u8]) -> Fault {
    let line = bytes.split(|byte| *byte == b'\r').find(|line| !matches!(line, [] | [b'\n'])).unwrap_or_default();
    let last = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    if last.starts_with(b"HTTP/") { Fault::BadVersion } else { Fault::BadRequestLine }
}

/// What headers say about the connection and the framing.
#[derive(Default)]
struct Transfer {
    hosts: usize,
    length: Option<u64>,
    encoded: bool,
    closes: bool,
    keeps: bool,
    expects: bool,
}

impl Transfer {
    /// Takes one header in; answers whether it is for whoever answers the request, too.
    fn note(&mut self, name: &str, value: &str) -> Result<bool, Fault> {
        match name {
            "host" => {
                self.hosts += 1;
                // Nobody here chooses by host; but what cannot be one is a sign of a misread line.
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(&byte);
                if self.hosts > 1 || !value.bytes().all(fits) {
                    return Err(Fault::BadHost);
                }
                Ok(true)
            }
            "content-length" => {
                if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(Fault::BadLength);
                }
                // Equal ones too: some readers take the first, some the last, some refuse.
                if self.length.is_some() {
                    return Err(Fault::TwoLengths);
                }
                // More digits than fit are a number all the same, and too large by far.
                self.length = Some(value.parse().unwrap_or(u64::MAX));
                Ok(false)
            }
            "transfer-encoding" => {
                if self.encoded || !value.eq_ignore_ascii_case("chunked") {
                    return Err(Fault::BadEncoding);
                }
                self.encoded = true;
                Ok(false)
            }
            "connection" => {
                for word in value.split(',').map(str::trim) {
                    self.closes |= word.eq_ignore_ascii_case("close");
                    self.keeps |= word.eq_ignore_ascii_case("keep-alive");
                }
                Ok(false)
            }
            "expect" => {
                if !value.eq_ignore_ascii_case("100-continue") {
                    return Err(Fault::BadExpectation);
                }
                self.expects = true;
                Ok(false)
            }
            "keep-alive" | "proxy-connection" | "te" | "trailer" | "upgrade" => Ok(false),
            _ => Ok(true),
        }
    }
}

/// Takes a chunked body apart while it arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    state: ChunkState,
    /// Bytes of the present size line.
    line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    /// In the size: what it is so far, and how many digits that took.
    Size {
        size: u64,
        digits: u8,
    },
    /// Behind a semicolon.
    Extension {
        size: u64,
    },
    /// The size line's CR was seen.
    SizeEnd {
        size: u64,
    },
    /// In the data: so many bytes are left.
    Data {
        left: u64,
    },
    /// Behind the data.
    DataCr,
    DataLf,
    /// Behind the chunk of size zero.
    LastCr,
    LastLf,
    Done,
}

impl Default for ChunkState {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunks {
    /// Takes `input` in and appends the data in it to `body`, which grows by at most as many bytes. Answers how
    /// many bytes were taken: all of them, unless the body ended.
    ///
    /// # Errors
    /// When a chunk is malformed, or makes the body larger than `body_bytes_max`.
    pub fn feed(&mut self, input: &[u8], body: &mut Vec<u8>, body_bytes_max: usize) -> Result<usize, Fault> {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            if let ChunkState::Data { left } = self.state {
                let part = rest.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(rest);
                body.extend_from_slice(part);
                at += part.len();
                let left = left - part.len() as u64;
                self.state = if left == 0 { ChunkState::DataCr } else { ChunkState::Data { left } };
                continue;
            }
            let Some(&byte) = rest.first() else { break };
            self.state = match (self.state, byte) {
                (ChunkState::Done, _) => break,
                (state, byte) => self.step(state, byte, body.len(), body_bytes_max)?,
            };
            at += 1;
        }
        Ok(at)
    }

    /// Whether the body has ended.
    pub fn done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// One byte outside of the data.
    fn step(&mut self, state: ChunkState, byte: u8, length: usize, length_max: usize) -> Result<ChunkState, Fault> {
        self.line += 1;
        if self.line > CHUNK_LINE_MAX {
            return Err(Fault::BadChunk);
        }
        Ok(match (state, byte) {
            (ChunkState::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 8 => {
                let digit = char::from(byte).to_digit(16).ok_or(Fault::BadChunk)?;
                ChunkState::Size { size: size * 16 + u64::from(digit), digits: digits + 1 }
            }
            (ChunkState::Size { size, digits: 1.. }, b'\r') => ChunkState::SizeEnd { size },
            (ChunkState::Size { size, digits: 1.. }, b';') => ChunkState::Extension { size },
            (ChunkState::Extension { size }, b'\r') => ChunkState::SizeEnd { size },
            (ChunkState::Extension { size }, b'\t' | b' '..=b'~') => ChunkState::Extension { size },
            (ChunkState::SizeEnd { size: 0 }, b'\n') => ChunkState::LastCr,
            (ChunkState::SizeEnd { size }, b'\n') => {
                if size > length_max.saturating_sub(length) as u64 {
                    return Err(Fault::BodyTooLarge);
                }
                ChunkState::Data { left: size }
            }
            (ChunkState::DataCr, b'\r') => ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => {
                self.line = 0;
                ChunkState::default()
            }
            (ChunkState::LastCr, b'\r') => ChunkState::LastLf,
            (ChunkState::LastCr, _) => return Err(Fault::Trailers),
            (ChunkState::LastLf, b'\n') => ChunkState::Done,
            _ => return Err(Fault::BadChunk),
        })
    }
}

#[cfg(test)]
mod tests;
