//! What the headers of messages in the streams are called, and what they say.

/// The name by which the server tells a message from one that it has.
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
/// What a message has of each session: `tag-first-last`, in hexadecimal digits, with commas.
pub(crate) const RANGES: &str = "Propylon-Ranges";
/// Which part of how many, and of which message: `0-3-publisher-ticket`. What is whole has none.
pub(crate) const PART: &str = "Propylon-Part";
/// Whose message it is, the how manieth of it in the partition, and where the one before is: `publisher-number-previous`.
pub(crate) const NUMBER: &str = "Propylon-Number";
/// Where a dead letter says which subject it was sent to.
pub(crate) const SUBJECT: &str = "Propylon-Subject";
/// Where a dead letter says why it is one.
pub(crate) const REASON: &str = "Propylon-Reason";
/// How often a dead letter was delivered; it is with what is sent again, too.
pub(crate) const DELIVERED: &str = "Propylon-Deliveries";

/// A message has so many parts at most.
const PARTS: usize = 4_096;

/// Of [`PART`]: which part this is, of how many, and of which message.
pub(crate) fn part_of(said: &str) -> Option<(usize, usize, String)> {
    let mut facts = said.splitn(3, '-');
    let (part, parts) = (facts.next()?.parse().ok()?, facts.next()?.parse().ok()?);
    (part < parts && parts <= PARTS).then(|| (part, parts, facts.next().unwrap_or_default().to_owned()))
}
