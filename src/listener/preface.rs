//! What a connection speaks, by its first bytes.

/// What a client of HTTP/2 sends first; its SETTINGS follow. HTTP/1 has no such method.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of the head of an HTTP/2 frame. Its first three bytes are the length of what follows.
const FRAME_HEAD: usize = 9;

/// What a connection speaks, as its first bytes arrive, in pieces of any size.
#[derive(Debug)]
pub(super) enum Greeting {
    /// So many bytes of the preface of HTTP/2: it may still become HTTP/1.
    Preface(usize),
    /// The preface is complete: so many bytes of the first frame's head, and the length that they say.
    FrameHead(usize, usize),
    /// So many bytes of the first frame are missing.
    Frame(usize),
    /// HTTP/2, with its preface and its first frame.
    Http2,
    /// HTTP/1, or garbage.
    Http1,
}

impl Greeting {
    pub(super) fn new() -> Self {
        Self::Preface(0)
    }

    /// Takes the next bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        for (at, byte) in bytes.iter().enumerate() {
            *self = match *self {
                Self::Preface(known) if PREFACE[known] != *byte => Self::Http1,
                Self::Preface(known) if known + 1 == PREFACE.len() => Self::FrameHead(0, 0),
                Self::Preface(known) => Self::Preface(known + 1),
                Self::FrameHead(known, length) if known < 3 => {
                    Self::FrameHead(known + 1, length << 8 | usize::from(*byte))
                }
                Self::FrameHead(known, length) if known + 1 < FRAME_HEAD => Self::FrameHead(known + 1, length),
                Self::FrameHead(_, 0) => Self::Http2,
                Self::FrameHead(_, length) => Self::Frame(length),
                Self::Frame(missing) => match missing.saturating_sub(bytes.len() - at) {
                    0 => Self::Http2,
                    missing => {
                        *self = Self::Frame(missing);
                        return;
                    }
                },
                Self::Http2 | Self::Http1 => return,
            };
        }
    }

    /// Whether it is HTTP/2 and the client has introduced itself.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Greeting {
        let mut greeting = Greeting::new();
        pieces.iter().for_each(|piece| greeting.read(piece));
        greeting
    }

    #[test]
    fn pieces_of_any_size_are_http2() {
        let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\x01";
        let all = [PREFACE, settings].concat();
        for size in 1..=all.len() {
            let pieces: Vec<_> = all.chunks(size).collect();
            assert!(read(&pieces).is_http2(), "{size}");
            assert!(!read(&[&all[..all.len() - 1]]).is_http2());
        }
        assert!(read(&[PREFACE, b"\0\0\0\x04\0\0\0\0\0"]).is_http2());
        assert!(read(&[&all, b"more"]).is_http2());
    }

    #[test]
    fn what_only_begins_like_http2_is_not() {
        for bytes in [&b"PRI /identify HTTP/1.1\r\n"[..], b"POST / HTTP/1.1", b"PRI * HTTP/1.1", b"\0"] {
            assert!(matches!(read(&[bytes]), Greeting::Http1), "{bytes:?}");
        }
        assert!(matches!(read(&[b"P", b"R"]), Greeting::Preface(2)));
        assert!(matches!(read(&[PREFACE, b"\0\0"]), Greeting::FrameHead(2, 0)));
    }
}
