//! The file of a recording: appended to frame by frame, set aside when it is full. A frame is in it whole or not at all,
//! as far as the system lets us.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::frames::end_whole;

/// The ending that numbers go before: `day.jsonl.zst` is set aside as `day.000001.jsonl.zst`.
const ENDING: &str = ".jsonl.zst";
/// Digits of a number, so that files sort by their names.
const DIGITS: usize = 6;

pub(super) struct RecordingFile {
    path: PathBuf,
    file: File,
    /// Its bytes; of what is no file, those that were written.
    length: u64,
    /// It can be cut, set aside and looked through.
    regular: bool,
    /// A part of a frame stands at its end and would not go.
    torn: bool,
    max_bytes: Option<u64>,
}

impl RecordingFile {
    /// Opens it to append. One that ends within a frame, as after a kill, is set aside, and nothing of it is lost.
    pub(super) fn open(path: &Path, max_bytes: Option<u64>) -> io::Result<Self> {
        let (file, regular, length) = open(path)?;
        let torn = regular && !end_whole(File::open(path)?)?;
        let mut this = Self { path: path.to_owned(), file, length, regular, torn, max_bytes };
        if torn {
            this.set_aside()?;
        }
        Ok(this)
    }

    /// Adds a whole frame.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        let full = self.max_bytes.is_some_and(|most| self.length > 0 && self.length + frame.len() as u64 > most);
        if self.regular && (full || self.torn) {
            self.set_aside()?;
        }
        if let Err(error) = self.file.write_all(frame) {
            // A part of it may be in the file, where it would hide what comes after.
            self.torn = self.regular && self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += frame.len() as u64;
        Ok(())
    }

    fn set_aside(&mut self) -> io::Result<()> {
        let (before, after) = parts(&self.path);
        let last = set_aside(&self.path)?.last().map_or(0, |(number, _)| *number);
        let number =
            last.checked_add(1).ok_or_else(|| io::Error::other("a file beside it has the last number there is"))?;
        let mut name = before;
        name.push(format!(".{number:0DIGITS$}"));
        name.push(after);
        match std::fs::rename(&self.path, self.path.with_file_name(name)) {
            // Somebody has taken it away, as logrotate does.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        let (file, regular, length) = open(&self.path)?;
        unlock(&std::mem::replace(&mut self.file, file));
        (self.regular, self.length) = (regular, length);
        self.torn = false;
        Ok(())
    }
}

impl Drop for RecordingFile {
    /// A child that was forked has the file too, and would keep the lock.
    fn drop(&mut self) {
        unlock(&self.file);
    }
}

fn unlock(file: &File) {
    #[cfg(unix)]
    let _ = file.unlock();
    #[cfg(not(unix))]
    let _ = file;
}

fn open(path: &Path) -> io::Result<(File, bool, u64)> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    // What a bot hears is for its owner.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    // On Windows a lock would keep readers out as well.
    #[cfg(unix)]
    if metadata.is_file() && matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)) {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another recording writes to this file"));
    }
    let regular = metadata.is_file();
    Ok((file, regular, if regular { metadata.len() } else { 0 }))
}

/// What stands before the number of a file that is set aside, and what behind it.
fn parts(path: &Path) -> (OsString, OsString) {
    let name = path.file_name().unwrap_or_default();
    match name.to_str().and_then(|name| name.strip_suffix(ENDING)) {
        Some(before) if !before.is_empty() => (before.into(), ENDING.into()),
        _ => (
            path.file_stem().unwrap_or_default().to_owned(),
            path.extension().map_or_else(OsString::new, |ending| {
                let mut after = OsString::from(".");
                after.push(ending);
                after
            }),
        ),
    }
}

/// The files of this recording that were set aside, with their numbers, oldest first.
pub(super) fn set_aside(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (before, after) = parts(path);
    let (before, after) = (before.as_encoded_bytes(), after.as_encoded_bytes());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        let name = entry?.file_name();
        let number = name.as_encoded_bytes().strip_prefix(before).and_then(|rest| rest.strip_prefix(b"."));
        let number = number.and_then(|rest| rest.strip_suffix(after)).filter(|number| number.len() >= DIGITS);
        let number = number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        if let Some(number) = number {
            found.push((number, path.with_file_name(name)));
        }
    }
    found.sort();
    Ok(found)
}
