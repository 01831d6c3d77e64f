//! Facts of Discord's gateway that need no state: fixed payloads, the intents there are, which close codes end a session.

/// Op 11.
pub(crate) const ACK: &[u8] = br#"{"t":null,"s":null,"op":11,"d":null}"#;
/// Op 7.
pub(crate) const RECONNECT: &[u8] = br#"{"t":null,"s":null,"op":7,"d":null}"#;
/// Op 1, as the server asks for a beat.
pub(crate) const HEARTBEAT: &[u8] = br#"{"t":null,"s":null,"op":1,"d":null}"#;
/// Every intent bit that Discord knows.
pub(crate) const KNOWN_INTENTS: u64 = 0x1_ffff | 3 << 20 | 3 << 24;

/// Whether Discord ends the session of a connection that it closes with this code.
pub(crate) fn ends_session(code: u16) -> bool {
    matches!(code, 4001 | 4003 | 4004 | 4007 | 4009..=4014)
}

/// The flags of an application that may use every privileged intent but these.
pub(crate) fn application_flags(disallowed_intents: u64) -> u64 {
    // The bit of an intent, and that of the flag that allows it to an application in few guilds.
    [(8, 13), (1, 15), (15, 19)]
        .into_iter()
        .filter(|(intent, _)| disallowed_intents >> intent & 1 == 0)
        .fold(0, |flags, (_, flag)| flags | 1 << flag)
}
