//! What an HTTP answer that is a refusal tells of the next attempt: whether we came too often, and when to come again.
//! Its words are the server's own and are repeated nowhere.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::session::{ConnectFailure, ConnectFailureKind};

/// RFC 6585, section 4.
const RATE_LIMITED: u16 = 429;
/// Bytes that are read of a body; Discord's answer to what came too often has 100.
const BODY: usize = 4096;
/// How long the rest of a body is waited for: the answer itself is there.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nobody waits longer without asking again.
const LONGEST: f64 = 3600.0;

pub(super) fn failure(kind: ConnectFailureKind, message: impl Into<String>) -> ConnectFailure {
    ConnectFailure { kind, message: message.into(), retry_after: None }
}

/// A rate limit is a kind of its own, whoever says it.
pub fn kind_of(status: u16, otherwise: ConnectFailureKind) -> ConnectFailureKind {
    if status == RATE_LIMITED { ConnectFailureKind::RateLimited } else { otherwise }
}

/// How long an answer asks us to stay away, an hour at most. Of a 429 it is the longest of what its headers and its body
/// say, for `X-RateLimit-Reset-After` may be about one limit of several; with another status only `Retry-After` is meant
/// for us. `header` finds a header by its name in lower case.
///
/// Source: <https://discord.com/developers/docs/topics/rate-limits>, RFC 9110, section 10.2.3.
pub fn retry_after<'a>(status: u16, header: impl Fn(&str) -> Option<&'a [u8]>, body: &[u8]) -> Option<Duration> {
    let text = |name| header(name).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
    let seconds = |name| text(name).and_then(|text| text.parse().ok());
    let until = || {
        let date = http_date(text("retry-after")?)?;
        // What has passed by our clock may be still to come by the server's: it says nothing.
        let left = date - SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
        (left > 0.0).then_some(left)
    };
    let mut all = vec![seconds("retry-after").or_else(until)];
    if status == RATE_LIMITED {
        all.extend([told(body), seconds("x-ratelimit-reset-after")]);
    }
    let told = all.into_iter().flatten().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0);
    told.reduce(f64::max).map(|seconds| Duration::from_secs_f64(seconds.min(LONGEST)))
}

/// `retry_after` of the JSON object that begins in `body`: what frames it, as a chunked body does, is passed over.
fn told(body: &[u8]) -> Option<f64> {
    #[derive(Deserialize)]
    struct Told {
        retry_after: f64,
    }
    let object = &body[body.iter().position(|&byte| byte == b'{')?..];
    serde_json::Deserializer::from_slice(object).into_iter::<Told>().next()?.ok().map(|told| told.retry_after)
}

/// The beginning of a body of which `begun` came with the head: enough to be told, or all that comes soon.
pub(super) async fn rest_of_body(mut stream: impl AsyncRead + Unpin, begun: Vec<u8>, length: Option<usize>) -> Vec<u8> {
    let mut body = begun;
    let whole = length.unwrap_or(BODY).min(BODY);
    let reading = async {
        while body.len() < whole && told(&body).is_none() {
            if !matches!(stream.read_buf(&mut body).await, Ok(1..)) {
                break;
            }
        }
    };
    // Late or not: what is there is looked at.
    let _ = tokio::time::timeout(PATIENCE, reading).await;
    body
}

/// Unix time in seconds of an HTTP date, in any of the three forms of RFC 9110, section 5.6.7.
fn http_date(text: &str) -> Option<f64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split([' ', ',', '-']).filter(|word| !word.is_empty()).collect();
    let ([_, day, month, year, time, "GMT"] | [_, month, day, time, year]) = words[..] else { return None };
    let month = (1..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let (day, year) = (day.parse::<u8>().ok()?, year.parse::<u16>().ok()?);
    let clock: Vec<u8> = time.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [hour, minute, second] = clock[..] else { return None };
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Two digits are of this century: what was in the last one is no time to wait for.
    let year = i64::from(if year < 100 { 2000 + year } else { year });
    // Days since 1970 of the proleptic Gregorian calendar, the year beginning in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + i64::from(day) - 719_469;
    Some((days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(name: &str, value: &str, body: &str) -> Option<f64> {
        let header = |wanted: &str| (wanted == name).then_some(value.as_bytes());
        retry_after(429, header, body.as_bytes()).map(|duration| duration.as_secs_f64())
    }

    #[test]
    fn f03_retry_after_is_seconds_with_decimals_and_capped() {
        let parsed = |text: &str| seconds("retry-after", text, "");
        assert_eq!(parsed("5"), Some(5.0));
        assert_eq!(parsed(" 0.25 "), Some(0.25));
        assert_eq!(parsed("1e9"), Some(3600.0));
        assert_eq!(parsed("0"), Some(0.0), "at once was said, which is not nothing");
        for nothing in ["", "-1", "nan", "inf", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 99 Oct 2199"] {
            assert_eq!(parsed(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn f03_retry_after_may_be_an_http_date() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(http_date(text), Some(784_111_777.0), "{text}");
        }
        // The two digits of RFC 850 are read as of this century.
        assert_eq!(http_date("Tuesday, 29-Feb-28 23:59:59 GMT"), Some(1_835_481_599.0));
        assert_eq!(http_date("Wed, 01 Mar 2028 00:00:00 GMT"), Some(1_835_481_600.0));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0.0));
        for nonsense in ["06 Nov 1994", "Sun, 06 Nox 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT", ", , ,"] {
            assert_eq!(http_date(nonsense), None, "{nonsense}");
        }
        assert_eq!(seconds("retry-after", "Mon, 01 Jan 2990 00:00:00 GMT", ""), Some(3600.0));
    }

    #[test]
    fn f03_of_what_headers_and_body_say_the_longest_counts() {
        let body = r#"{"message":"You are being rate limited.","retry_after":12.5,"global":true}"#;
        assert_eq!(seconds("", "", body), Some(12.5));
        assert_eq!(seconds("", "", &format!("4c\r\n{body}\r\n0\r\n\r\n")), Some(12.5));
        assert_eq!(seconds("x-ratelimit-reset-after", "0.75", ""), Some(0.75));
        assert_eq!(seconds("x-ratelimit-reset-after", "0.75", body), Some(12.5));
        assert_eq!(seconds("retry-after", "13", body), Some(13.0));
        // A bucket's header stands in every answer, and is no word about what is broken.
        let bucket = |wanted: &str| (wanted == "x-ratelimit-reset-after").then_some(&b"7"[..]);
        assert_eq!(retry_after(503, bucket, body.as_bytes()), None);
        for nothing in ["", "{", "[]", r#"{"retry_after":"5"}"#, r#"{"retry_after":-5}"#, &"{".repeat(4096), "<html>"] {
            assert_eq!(seconds("", "", nothing), None, "{nothing}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn f03_the_rest_of_a_body_is_read_as_far_as_it_is_of_use() {
        let (near, mut far) = tokio::io::duplex(100_000);
        tokio::io::AsyncWriteExt::write_all(&mut far, br#"y_after":7} and then nothing for ever"#).await.unwrap();
        let body = rest_of_body(near, br#"{"retr"#.to_vec(), None).await;
        assert_eq!(told(&body), Some(7.0));
        let (near, mut far) = tokio::io::duplex(100_000);
        tokio::io::AsyncWriteExt::write_all(&mut far, &vec![b'x'; 100_000]).await.unwrap();
        assert!(rest_of_body(near, Vec::new(), None).await.len() <= 2 * BODY);
        let start = tokio::time::Instant::now();
        let (near, _far) = tokio::io::duplex(1);
        assert!(rest_of_body(near, Vec::new(), Some(5)).await.is_empty());
        assert_eq!(start.elapsed(), PATIENCE);
    }
}
