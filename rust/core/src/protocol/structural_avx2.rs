//! The masks of `structural`, 32 bytes at a time where the processor has AVX2: a scan costs half.
//!
//! The one module of the engine with `unsafe`: calling code for a processor feature needs it, after the
//! look whether the feature is there.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
};

use super::structural_scan::{BLOCK, Masks, commas_with, container_end_with};

/// What `structural::container_end` gives; the outer `None`: this processor has no AVX2.
#[allow(clippy::option_option)] // Two questions, two answers.
#[inline]
pub(super) fn container_end(document: &[u8], start: usize) -> Option<Option<usize>> {
    // SAFETY: the processor has AVX2.
    is_there().then(|| unsafe { detected(document, start) })
}

/// What `structural::members` gives; the outer `None`: this processor has no AVX2.
#[allow(clippy::option_option)] // Two questions, two answers.
#[inline]
pub(super) fn members(document: &[u8], start: usize, commas: &mut Vec<usize>) -> Option<Option<usize>> {
    // SAFETY: the processor has AVX2.
    is_there().then(|| unsafe { detected_members(document, start, commas) })
}

#[inline]
fn is_there() -> bool {
    // The answer is cached by the standard library: one load and one test.
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") && is_x86_feature_detected!("lzcnt")
}

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
fn detected_members(document: &[u8], start: usize, commas: &mut Vec<usize>) -> Option<usize> {
    commas_with(document, start, |block| (masks(block), find(halves(block), b',')), commas)
}

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
fn detected(document: &[u8], start: usize) -> Option<usize> {
    container_end_with(document, start, |block| masks(block))
}

#[target_feature(enable = "avx2")]
#[inline]
fn masks(block: &[u8; BLOCK]) -> Masks {
    let (low, high) = halves(block);
    let fold = _mm256_set1_epi8(0x20);
    let folded = (_mm256_or_si256(low, fold), _mm256_or_si256(high, fold));
    Masks {
        quotes: find((low, high), b'"'),
        backslashes: find((low, high), b'\\'),
        opens: find(folded, b'{'),
        closes: find(folded, b'}'),
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn halves(block: &[u8; BLOCK]) -> (__m256i, __m256i) {
    let half = |offset: usize| -> __m256i {
        // SAFETY: offset is 0 or 32, so the 32 bytes lie in the block; the load asks for no alignment.
        unsafe { _mm256_loadu_si256(block.as_ptr().add(offset).cast()) }
    };
    (half(0), half(BLOCK / 2))
}

#[target_feature(enable = "avx2")]
#[inline]
fn find((low, high): (__m256i, __m256i), byte: u8) -> u64 {
    let byte = _mm256_set1_epi8(byte.cast_signed());
    let low = _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, byte)).cast_unsigned();
    let high = _mm256_movemask_epi8(_mm256_cmpeq_epi8(high, byte)).cast_unsigned();
    u64::from(low) | u64::from(high) << 32
}
