//! The inflater against real compressors, bombs and damaged streams.

mod peer;

use proptest::prelude::*;

use self::peer::{Zlib, Zstd, payload};
use super::{Compression, DecompressionError, Inflater};

const MIB: usize = 1 << 20;

/// Messages of one connection, for each document one.
fn messages(compression: Compression, documents: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut zlib, mut zstd) = (Zlib::new(), Zstd::new(18));
    let one = |document: &Vec<u8>| match compression {
        Compression::None => document.clone(),
        Compression::Payload => payload(document),
        Compression::ZlibStream => zlib.message(document),
        Compression::ZstdStream => zstd.message(document),
    };
    documents.iter().map(one).collect()
}

/// Documents of the usual sizes, and some that outgrow every chunk; no two alike.
fn documents() -> Vec<Vec<u8>> {
    let lengths = [
        2,
        870,
        1,
        31 * 1024,
        40_000,
        1500,
        32 * 1024,
        32 * 1024 + 1,
        128 * 1024,
        300_000,
        5,
        3 * MIB,
        870,
        65_536,
        17,
    ];
    lengths.iter().enumerate().map(|(seed, &length)| noise(seed as u64, length)).collect()
}

/// Half text that repeats, half bytes that do not.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut document = Vec::with_capacity(length + 64);
    while document.len() < length {
        document.extend_from_slice(br#"{"id":"613425648685547541","name":""#);
        document.extend(std::iter::repeat_with(|| random.u8(..)).take(30));
    }
    document.truncate(length);
    document
}

const ALL: [Compression; 4] =
    [Compression::None, Compression::Payload, Compression::ZlibStream, Compression::ZstdStream];

#[test]
fn s12_documents_come_out_as_they_went_in() {
    for compression in ALL {
        let documents = documents();
        let mut inflater = Inflater::new(compression, 4 * MIB);
        let mut held = Vec::new();
        for (index, message) in messages(compression, &documents).iter().enumerate() {
            assert_eq!(inflater.push(message, true), Ok(true), "{compression} {index}");
            assert_eq!(inflater.document(), documents[index], "{compression} {index}");
            if index % 3 == 1 {
                inflater.discard();
            } else {
                held.push((index, inflater.freeze()));
            }
            assert_eq!(inflater.document(), b"");
        }
        for (index, document) in held {
            assert_eq!(document, documents[index], "{compression} {index}: overwritten while it was held");
        }
    }
}

#[test]
fn s12_the_limit_is_exact() {
    for compression in ALL {
        for limit in [1, 100, 32 * 1024 - 1, 32 * 1024, 200_000] {
            let fits = messages(compression, &[noise(1, limit), noise(2, limit)]);
            let mut inflater = Inflater::new(compression, limit);
            for message in &fits {
                assert_eq!(inflater.push(message, true), Ok(true), "{compression} {limit}");
                assert_eq!(inflater.freeze().len(), limit);
            }
            let over = messages(compression, &[noise(1, limit + 1)]);
            let mut inflater = Inflater::new(compression, limit);
            assert_eq!(
                inflater.push(&over[0], true),
                Err(DecompressionError::TooLarge { limit }),
                "{compression} {limit}"
            );
        }
    }
}

#[test]
fn s12_bombs_stop_at_the_limit() {
    let bomb = vec![b'a'; 256 * MIB];
    let zlib = Zlib::new().message(&bomb);
    let zstd = Zstd::new(18).message(&bomb);
    let single = payload(&bomb);
    drop(bomb);
    assert!(zlib.len() < 300_000 && zstd.len() < 10_000, "{} {}", zlib.len(), zstd.len());
    for limit in [MIB, 64 * MIB] {
        for (compression, message) in
            [(Compression::ZlibStream, &zlib), (Compression::ZstdStream, &zstd), (Compression::Payload, &single)]
        {
            let mut inflater = Inflater::new(compression, limit);
            let error = Err(DecompressionError::TooLarge { limit });
            assert_eq!(inflater.push(message, true), error, "{compression} {limit}");
            assert_eq!(inflater.document(), b"");
            assert_eq!(inflater.push(message, true), error, "stays poisoned");
            assert_eq!(inflater.push(b"{}", false), error, "stays poisoned");
            assert_eq!(inflater.freeze(), b"".as_slice());
        }
    }
}

#[test]
fn s12_compressed_input_without_output_is_limited_too() {
    let mut inflater = Inflater::new(Compression::ZlibStream, 10_000);
    assert_eq!(inflater.push(&Zlib::new().message(b"{}"), true), Ok(true));
    inflater.discard();
    // An empty stored block without its last byte, and that byte with the next block's beginning.
    let blocks = [[0xFF].as_slice(), &[0, 0, 0, 0xFF, 0xFF].repeat(99), &[0, 0, 0, 0xFF]].concat();
    assert_eq!(inflater.push(&blocks[1..], true), Ok(false));
    let error = (0..1000).find_map(|_| inflater.push(&blocks, true).err());
    assert_eq!(error, Some(DecompressionError::TooLarge { limit: 10_000 }));
}

#[test]
fn s12_the_zlib_suffix_may_be_split_over_messages() {
    for cut in 1..=5 {
        let mut zlib = Zlib::new();
        let mut inflater = Inflater::new(Compression::ZlibStream, MIB);
        for document in [&b"{\"op\":1}"[..], b"{\"op\":11}", &noise(3, 100_000)] {
            let message = zlib.message(document);
            let (first, second) = message.split_at(message.len() - cut);
            assert_eq!(inflater.push(first, true), Ok(false));
            assert_eq!(inflater.document(), b"");
            inflater.discard(); // without a document there is nothing to forget
            assert_eq!(inflater.push(second, true), Ok(true));
            assert_eq!(inflater.document(), document);
            inflater.discard();
        }
    }
}

#[test]
fn s12_a_zlib_message_byte_by_byte() {
    let message = Zlib::new().message(b"{\"op\":10,\"d\":{\"heartbeat_interval\":41250}}");
    let mut inflater = Inflater::new(Compression::ZlibStream, MIB);
    for byte in &message[..message.len() - 1] {
        assert_eq!(inflater.push(&[*byte], true), Ok(false));
    }
    assert_eq!(inflater.push(b"", true), Ok(false));
    assert_eq!(inflater.push(&[0xFF], true), Ok(true));
    assert_eq!(inflater.document(), b"{\"op\":10,\"d\":{\"heartbeat_interval\":41250}}");
}

#[test]
fn s12_two_payloads_in_one_message_stand_one_after_the_other() {
    let (mut zlib, mut zstd) = (Zlib::new(), Zstd::new(18));
    let zlib = [zlib.message(b"{\"op\":1}"), zlib.message(b"{\"op\":11}")].concat();
    let zstd = [zstd.message(b"{\"op\":1}"), zstd.message(b"{\"op\":11}")].concat();
    for (compression, message) in [(Compression::ZlibStream, zlib), (Compression::ZstdStream, zstd)] {
        let mut inflater = Inflater::new(compression, MIB);
        assert_eq!(inflater.push(&message, true), Ok(true));
        assert_eq!(inflater.document(), b"{\"op\":1}{\"op\":11}");
    }
}

#[test]
fn s12_zstd_messages_that_are_frames_of_their_own() {
    let mut zstd = Zstd::new(18);
    let mut inflater = Inflater::new(Compression::ZstdStream, 4 * MIB);
    for document in documents() {
        assert_eq!(inflater.push(&zstd.frame(&document), true), Ok(true));
        assert_eq!(inflater.freeze(), document);
        assert_eq!(inflater.push(b"", true), Ok(false));
    }
}

#[test]
fn s12_the_zstd_header_is_discords() {
    assert!(Zstd::new(18).message(b"{}").starts_with(&[0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x40]));
}

#[test]
fn s12_plain_frames_are_tolerated_in_every_mode() {
    for compression in ALL {
        let documents = [noise(1, 2000), noise(2, 2000)];
        let messages = messages(compression, &documents);
        let mut inflater = Inflater::new(compression, MIB);
        for (document, message) in documents.iter().zip(&messages) {
            assert_eq!(inflater.push(b"{\"op\":1}", false), Ok(true));
            assert_eq!(inflater.freeze(), b"{\"op\":1}".as_slice());
            assert_eq!(inflater.push(message, true), Ok(true));
            assert_eq!(inflater.freeze(), document);
        }
        assert_eq!(inflater.push(&noise(3, MIB + 1), false), Err(DecompressionError::TooLarge { limit: MIB }));
    }
}

fn error(compression: Compression, message: &[u8]) -> DecompressionError {
    let mut inflater = Inflater::new(compression, MIB);
    let error = inflater.push(message, true).unwrap_err();
    assert_eq!(inflater.push(message, true), Err(error.clone()), "stays poisoned");
    error
}

/// The decompressor's own words.
fn reason(compression: Compression, message: &[u8]) -> String {
    match error(compression, message) {
        DecompressionError::Corrupt { compression: reported, reason } if reported == compression => reason.into(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s12_zlib_that_is_none() {
    let good = Zlib::new().message(b"{\"op\":1}");
    let mut gzip = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    gzip.extend_from_slice(&good[2..]);
    for compression in [Compression::ZlibStream, Compression::Payload] {
        reason(compression, b"{\"op\":1}");
        reason(compression, &gzip);
        reason(compression, &good[2..]); // raw deflate
        reason(compression, &[0x78, 0xBB, 1, 2, 3, 4, 0, 0, 0xFF, 0xFF]); // preset dictionary
        reason(compression, &[&good[..2], &[0x07], &good[2..]].concat()); // block of the reserved type
    }
    assert_eq!(error(Compression::ZlibStream, &payload(b"{}")), DecompressionError::StreamEnded);
    let mut inflater = Inflater::new(Compression::ZlibStream, MIB);
    assert_eq!(inflater.push(&good[..5], true), Ok(false));
    assert!(inflater.push(b"{}", false).is_err(), "a text message inside a payload");
}

#[test]
fn s12_payloads_that_are_damaged() {
    let document = noise(5, 5000);
    let good = payload(&document);
    let truncated = DecompressionError::Truncated { compression: Compression::Payload };
    for length in [0, 1, 2, 100, good.len() - 4, good.len() - 1] {
        assert_eq!(error(Compression::Payload, &good[..length]), truncated, "{length}");
    }
    let garbage = [&good[..], b"xyz"].concat();
    assert_eq!(error(Compression::Payload, &garbage), DecompressionError::TrailingGarbage { bytes: 3 });
    let mut checksum = good.clone();
    *checksum.last_mut().unwrap() ^= 1;
    reason(Compression::Payload, &checksum);
}

#[test]
fn s12_zstd_that_is_none() {
    let frame = |header: &[u8]| [&[0x28, 0xB5, 0x2F, 0xFD], header, &[0x01, 0, 0], &[0; 8]].concat();
    assert!(reason(Compression::ZstdStream, b"{\"op\":1}        ").contains("frame descriptor"));
    assert!(
        reason(Compression::ZstdStream, &frame(&[0x00, (31 - 10) << 3])).contains("too much memory"),
        "window log 31"
    );
    assert!(
        reason(Compression::ZstdStream, &frame(&[0x00, (24 - 10) << 3])).contains("too much memory"),
        "window log 24"
    );
    assert!(reason(Compression::ZstdStream, &frame(&[0x01, 0x40, 7])).contains("Dictionary"), "dictionary 7");
    reason(Compression::ZstdStream, &[Zstd::new(18).message(b"{}"), b"garbage-garbage".to_vec()].concat());
    reason(Compression::ZstdStream, &[Zstd::new(18).frame(b"{}"), b"garbage-garbage".to_vec()].concat());
    assert!(
        Inflater::new(Compression::ZstdStream, MIB).push(&Zstd::new(23).message(b"{}"), true).is_ok(),
        "window log 23"
    );
}

#[test]
fn s12_a_zstd_message_that_was_cut_gives_no_document() {
    let document = noise(6, 300_000);
    let mut zstd = Zstd::new(18);
    let first = zstd.message(b"{\"op\":10}");
    let second = zstd.message(&document);
    for length in (1..second.len()).step_by(997).chain(second.len() - 20..second.len()) {
        let mut inflater = Inflater::new(Compression::ZstdStream, MIB);
        assert_eq!(inflater.push(&first, true), Ok(true));
        inflater.discard();
        let truncated = DecompressionError::Truncated { compression: Compression::ZstdStream };
        assert_eq!(inflater.push(&second[..length], true), Err(truncated), "{length}");
    }
}

#[test]
fn s12_compressions_have_names() {
    for compression in ALL {
        assert_eq!(compression.to_string().parse(), Ok(compression));
        let transport = matches!(compression, Compression::ZlibStream | Compression::ZstdStream);
        assert_eq!(compression.query(), transport.then_some(compression.name()));
    }
    assert!("zlib".parse::<Compression>().is_err());
}

#[test]
fn an_inflater_may_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Inflater>();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn s12_zlib_split_anywhere_gives_the_same_stream(
        lengths in prop::collection::vec(1_usize..3000, 1..12),
        cuts in prop::collection::vec(1_usize..700, 1..60),
    ) {
        let documents: Vec<_> = lengths.iter().enumerate().map(|(seed, &length)| noise(seed as u64, length)).collect();
        let wire = messages(Compression::ZlibStream, &documents).concat();
        let mut inflater = Inflater::new(Compression::ZlibStream, MIB);
        let (mut received, mut rest) = (Vec::new(), wire.as_slice());
        for cut in cuts.iter().cycle() {
            let (message, after) = rest.split_at((*cut).min(rest.len()));
            if inflater.push(message, true).unwrap() {
                received.extend_from_slice(inflater.document());
                inflater.discard();
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(received == documents.concat());
    }

    #[test]
    fn s12_damaged_bytes_never_panic(
        compression in prop::sample::select(&ALL[..]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        keep in 0.0..1.0_f64,
    ) {
        let documents = [noise(1, 900), noise(2, 40_000), noise(3, 900)];
        let mut messages = messages(compression, &documents);
        for (index, byte) in damage {
            let position = index.index(messages[1].len());
            messages[1][position] = byte;
        }
        let length = (messages[1].len() as f64 * (keep + 0.3).min(1.0)) as usize;
        messages[1].truncate(length);
        let mut inflater = Inflater::new(compression, MIB);
        let mut failed = None;
        for message in &messages {
            match inflater.push(message, true) {
                Ok(true) => drop(inflater.freeze()),
                Ok(false) => prop_assert_eq!(inflater.document(), b""),
                Err(error) => failed = Some(error),
            }
            if let Some(error) = &failed {
                prop_assert_eq!(inflater.push(b"{}", false), Err(error.clone()));
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(
        compression in prop::sample::select(&ALL[..]),
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5),
        header in any::<bool>(),
    ) {
        let mut inflater = Inflater::new(compression, 100_000);
        let begin: &[u8] = if compression == Compression::ZstdStream { &[0x28, 0xB5, 0x2F, 0xFD, 0, 0x40] } else { &[0x78, 0x9C] };
        let _ = header && inflater.push(begin, true).is_ok();
        for message in messages {
            let _ = inflater.push(&message, true);
        }
    }
}
