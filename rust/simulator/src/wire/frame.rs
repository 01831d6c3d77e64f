//! WebSocket framing (RFC 6455), the server's side: unmasked frames out, masked frames in.
//!
//! Hand-made because a fault needs frames that a library refuses to write, and a flood needs many of them in one buffer.

/// Continuation of a fragmented message.
pub(crate) const CONTINUATION: u8 = 0x0;
/// A text message.
pub(crate) const TEXT: u8 = 0x1;
/// A binary message.
pub(crate) const BINARY: u8 = 0x2;
/// Close.
pub(crate) const CLOSE: u8 = 0x8;
/// Ping.
pub(crate) const PING: u8 = 0x9;
/// Pong.
pub(crate) const PONG: u8 = 0xA;

/// Appends one whole, final frame.
pub(crate) fn put(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_header(out, 0x80 | opcode, payload.len() as u64);
    out.extend_from_slice(payload);
}

/// Appends a frame header; `first` holds FIN, RSV and the opcode.
pub(crate) fn put_header(out: &mut Vec<u8>, first: u8, len: u64) {
    out.push(first);
    match len {
        0..=125 => out.push(len as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// The payload of a close frame.
pub(crate) fn close_payload(code: Option<u16>, reason: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
    }
    payload
}

/// A frame that a client sent.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// Why a client's bytes are no WebSocket frame: the close code that says so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) u16, pub(crate) &'static str);

/// Takes one frame off the front of `buffer`; `None` when it is not whole yet.
pub(crate) fn take(buffer: &mut Vec<u8>, limit: usize) -> Result<Option<Frame>, Violation> {
    let [first, second, ..] = buffer[..] else {
        return Ok(None);
    };
    let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
    if first & 0x70 != 0 {
        return Err(Violation(1002, "reserved bits"));
    }
    if second & 0x80 == 0 {
        return Err(Violation(1002, "client frame is not masked"));
    }
    let (len, start) = match second & 0x7f {
        126 => match buffer.get(2..4) {
            Some(bytes) => (u64::from(u16::from_be_bytes([bytes[0], bytes[1]])), 4),
            None => return Ok(None),
        },
        127 => match buffer.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => (u64::from_be_bytes(bytes), 10),
            None => return Ok(None),
        },
        len => (u64::from(len), 2),
    };
    if opcode & 0x8 != 0 && (!fin || len > 125) {
        return Err(Violation(1002, "fragmented or long control frame"));
    }
    if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
        return Err(Violation(1002, "reserved opcode"));
    }
    if len > limit as u64 {
        return Err(Violation(1009, "frame too large"));
    }
    let end = start + 4 + len as usize;
    if buffer.len() < end {
        return Ok(None);
    }
    let mask = [buffer[start], buffer[start + 1], buffer[start + 2], buffer[start + 3]];
    let mut payload = buffer[start + 4..end].to_vec();
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    buffer.drain(..end);
    Ok(Some(Frame { fin, opcode, payload }))
}

/// Bytes of an unmasked frame's header.
pub(crate) fn header_len(frame: &[u8]) -> usize {
    match frame[1] & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}
