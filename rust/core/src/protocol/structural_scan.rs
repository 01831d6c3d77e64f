//! The scan for the end of a JSON object or array, over the bit masks of 64 bytes at a time. Who makes the masks is left to
//! its callers: `structural` for any processor, `structural_x86` for most.
//!
//! After simdjson's first stage (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", section 3.1): strings as the
//! prefix-xor of the quotes, depth by population count. No recursion and no depth limit, so that a hostile document costs
//! its length and no more.
#![allow(clippy::inline_always)] // Without it the callee is compiled without the processor features of `structural_x86`.

pub(super) const BLOCK: usize = 64;
/// Blanks close nothing: what the last block is filled up with.
const BLANK: [u8; BLOCK] = [b' '; BLOCK];

/// The block at `at`, the last one in `last`; `None` behind the document.
#[inline(always)]
fn block_at<'a>(document: &'a [u8], at: usize, last: &'a mut [u8; BLOCK]) -> Option<&'a [u8; BLOCK]> {
    let rest = document.get(at..)?;
    if let Some(block) = rest.first_chunk() {
        return Some(block);
    }
    last[..rest.len()].copy_from_slice(rest);
    Some(last)
}

/// The offset after the bracket that closes the one at `start`, with the masks of a block from `masks`; `None` when the
/// document ends before it.
#[inline(always)]
pub(super) fn container_end_with(
    document: &[u8],
    start: usize,
    masks: impl Fn(&[u8; BLOCK]) -> Masks,
) -> Option<usize> {
    let mut skipper = Skipper { depth: 1, in_string: 0, escape: 0 };
    let mut at = start + 1;
    let mut last = BLANK;
    loop {
        let block = block_at(document, at, &mut last)?;
        if let Some(position) = skipper.step(masks(block)) {
            return Some(at + position + 1);
        }
        at += BLOCK;
    }
}

/// More commas are not noted: what has as many members has no class.
pub(crate) const MOST_COMMAS: usize = 4096;

/// The offset of the bracket that closes the one at `start`; puts those of the commas between its own members, and not
/// those further in, into `commas`, up to one more than [`MOST_COMMAS`] of them, so that a hostile document costs no memory.
/// `None` when the document ends before it.
#[inline(always)]
pub(super) fn commas_with(
    document: &[u8],
    start: usize,
    masks: impl Fn(&[u8; BLOCK]) -> (Masks, u64),
    commas: &mut Vec<usize>,
) -> Option<usize> {
    let mut skipper = Skipper { depth: 1, in_string: 0, escape: 0 };
    let mut at = start + 1;
    let mut last = BLANK;
    loop {
        let block = block_at(document, at, &mut last)?;
        let (masks, found) = masks(block);
        let in_string = skipper.strings(masks.quotes, masks.backslashes);
        let (opens, closes) = (masks.opens & !in_string, masks.closes & !in_string);
        let (mut brackets, mut left) = (opens | closes, found & !in_string);
        let ends = closes.count_ones() as usize;
        if skipper.depth > ends + 1 {
            // It stays further in.
            skipper.depth += opens.count_ones() as usize;
            skipper.depth -= ends;
            brackets = 0;
            left = 0;
        }
        loop {
            let bit = brackets & brackets.wrapping_neg();
            // Those before the next bracket.
            let before = bit.wrapping_sub(1);
            if skipper.depth == 1 {
                let mut own = left & before;
                while own != 0 && commas.len() <= MOST_COMMAS {
                    commas.push(at + own.trailing_zeros() as usize);
                    own &= own - 1;
                }
            }
            if bit == 0 {
                break;
            }
            left &= !before;
            brackets ^= bit;
            if opens & bit != 0 {
                skipper.depth += 1;
            } else {
                skipper.depth -= 1;
                if skipper.depth == 0 {
                    return Some(at + bit.trailing_zeros() as usize);
                }
            }
        }
        at += BLOCK;
    }
}

/// Where the bytes that matter stand in a block, bit by bit.
#[derive(Clone, Copy)]
pub(super) struct Masks {
    pub(super) quotes: u64,
    pub(super) backslashes: u64,
    pub(super) opens: u64,
    pub(super) closes: u64,
}

/// What one block hands to the next.
struct Skipper {
    /// Brackets open.
    depth: usize,
    /// All ones while inside a string.
    in_string: u64,
    /// 1 when the block's first byte is escaped.
    escape: u64,
}

impl Skipper {
    /// Takes the next block; the position of the bracket that brings the depth to zero, if it is in there.
    #[inline(always)]
    fn step(&mut self, masks: Masks) -> Option<usize> {
        let Masks { quotes, backslashes, mut opens, mut closes } = masks;
        let in_string = self.strings(quotes, backslashes);
        closes &= !in_string;
        opens &= !in_string;
        // An empty container changes nothing, and after that most blocks have no brackets left.
        let empty = closes & opens << 1;
        closes ^= empty;
        opens ^= empty >> 1;
        if opens | closes == 0 {
            return None;
        }
        self.walk(opens, closes)
    }

    /// The bytes of a block that are in strings.
    #[inline(always)]
    fn strings(&mut self, mut quotes: u64, backslashes: u64) -> u64 {
        if backslashes | self.escape != 0 {
            quotes &= !self.escaped(backslashes);
        }
        let in_string = prefix_xor(quotes) ^ self.in_string;
        self.in_string = (in_string.cast_signed() >> 63).cast_unsigned();
        in_string
    }

    /// Counts the brackets of a block; the position of the one that brings the depth to zero.
    #[inline]
    fn walk(&mut self, opens: u64, closes: u64) -> Option<usize> {
        let ends = closes.count_ones() as usize;
        if ends >= self.depth {
            // The container may end here: each closing bracket in turn, with the opening ones before it.
            let mut rest = closes;
            let mut nth = 0;
            while rest != 0 {
                let bit = rest & rest.wrapping_neg();
                nth += 1;
                if self.depth + (opens & (bit - 1)).count_ones() as usize == nth {
                    return Some(bit.trailing_zeros() as usize);
                }
                rest ^= bit;
            }
        }
        self.depth += opens.count_ones() as usize;
        self.depth -= ends;
        None
    }

    /// The bytes that an odd run of backslashes escapes, given where the backslashes are.
    fn escaped(&mut self, backslashes: u64) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let backslashes = backslashes & !self.escape;
        let follows = backslashes << 1 | self.escape;
        let odd_starts = backslashes & !EVEN & !follows;
        let (even_starts, overflow) = odd_starts.overflowing_add(backslashes);
        self.escape = u64::from(overflow);
        (EVEN ^ (even_starts << 1)) & follows
    }
}

/// Bit n of the result is the parity of bits 0 to n.
#[inline]
const fn prefix_xor(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ bits << 32
}
