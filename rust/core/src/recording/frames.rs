//! Whether a file of zstd frames ends where a frame ends (RFC 8878, section 3.1). Headers are read and contents skipped, so
//! that a day's recording is looked through in milliseconds; libzstd tells it only of frames that lie in memory.

use std::io::{self, BufRead, BufReader, Read, Seek};

const MAGIC: u32 = 0xFD2F_B528;
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184D_2A50..=0x184D_2A5F;

/// False: a frame is cut off, or what follows the last one is none.
pub(super) fn end_whole(file: impl Read + Seek) -> io::Result<bool> {
    let mut file = BufReader::with_capacity(4 * 1024, file);
    // Seeking goes beyond the end of a file without a word.
    let length = file.seek(io::SeekFrom::End(0))?;
    file.rewind()?;
    loop {
        if file.fill_buf()?.is_empty() {
            return Ok(file.stream_position()? == length);
        }
        match frame(&mut file) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn frame(file: &mut BufReader<impl Read + Seek>) -> io::Result<bool> {
    let magic = number(file, 4)?;
    if SKIPPABLE.contains(&magic) {
        let size = number(file, 4)?;
        file.seek_relative(i64::from(size))?;
        return Ok(true);
    }
    if magic != MAGIC {
        return Ok(false);
    }
    let descriptor = number(file, 1)?;
    let single_segment = descriptor >> 5 & 1 != 0;
    let window = u32::from(!single_segment);
    let dictionary = [0, 1, 2, 4][(descriptor & 3) as usize];
    let content_size = match descriptor >> 6 {
        0 => u32::from(single_segment),
        power => 1 << power,
    };
    file.seek_relative(i64::from(window + dictionary + content_size))?;
    loop {
        let header = number(file, 3)?;
        let (last, kind, size) = (header & 1 != 0, header >> 1 & 3, header >> 3);
        match kind {
            // A run of one byte.
            1 => file.seek_relative(1)?,
            3 => return Ok(false),
            _ => file.seek_relative(i64::from(size))?,
        }
        if last {
            break;
        }
    }
    if descriptor >> 2 & 1 != 0 {
        number(file, 4)?;
    }
    Ok(true)
}

/// Little endian.
fn number(file: &mut impl Read, bytes: usize) -> io::Result<u32> {
    let mut read = [0; 4];
    file.read_exact(&mut read[..bytes])?;
    Ok(u32::from_le_bytes(read))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use zstd_safe::{CCtx, CParameter};

    use super::end_whole;

    fn frame(contents: &[u8], checksum: bool, content_size: bool) -> Vec<u8> {
        let mut context = CCtx::try_create().unwrap();
        context.set_parameter(CParameter::ChecksumFlag(checksum)).unwrap();
        context.set_parameter(CParameter::ContentSizeFlag(content_size)).unwrap();
        let mut out = vec![0; zstd_safe::compress_bound(contents.len())];
        let length = context.compress2(&mut out[..], contents).unwrap();
        out.truncate(length);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_libzstd(
            parts in prop::collection::vec((prop::collection::vec(0u8..4, 0..2_000), 0usize..400_000, any::<(bool, bool)>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut file = Vec::new();
            let mut ends = vec![0];
            for (seed, length, (checksum, content_size)) in parts {
                let contents: Vec<u8> = seed.iter().copied().cycle().take(if seed.is_empty() { 0 } else { length }).collect();
                let one = frame(&contents, checksum, content_size);
                prop_assert_eq!(zstd_safe::find_frame_compressed_size(&one), Ok(one.len()));
                file.extend(one);
                ends.push(file.len());
            }
            prop_assert!(end_whole(Cursor::new(&file)).unwrap());
            let cut = cut.index(file.len());
            prop_assert_eq!(end_whole(Cursor::new(&file[..cut])).unwrap(), ends.contains(&cut));
        }

        #[test]
        fn no_bytes_do_harm(data in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = end_whole(Cursor::new([&super::MAGIC.to_le_bytes()[..], &data].concat()));
        }
    }

    #[test]
    fn what_is_none_is_not_whole() {
        assert!(end_whole(Cursor::new(b"")).unwrap());
        assert!(!end_whole(Cursor::new(b"{\"t\":1}\n")).unwrap());
        assert!(!end_whole(Cursor::new([&frame(b"x", true, true)[..], b"\0\0\0\0\0\0\0\0"].concat())).unwrap());
        let skippable = [&0x184D_2A55u32.to_le_bytes()[..], &3u32.to_le_bytes(), b"abc"].concat();
        assert!(end_whole(Cursor::new(&skippable)).unwrap());
        assert!(!end_whole(Cursor::new(&skippable[..10])).unwrap());
    }
}
