//! Reads recordings: the files of one in their order, frame after frame, line after line. Compressed or not: a file may
//! have been picked apart with other tools.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::{file, line};

/// The largest window accepted, 128 MiB: what `zstd --long` writes.
const WINDOW_LOG_MAX: u32 = 27;
const CHUNK: usize = 128 * 1024;
/// No event makes a longer line where nobody has raised `max_payload_bytes`, which is 64 MiB.
const LONGEST_LINE: usize = 256 * 1024 * 1024;

/// One event of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The event's name.
    pub name: String,
    /// `s`.
    pub sequence: Option<u64>,
    /// The shard, and of how many.
    pub shard: (u32, u32),
    /// When it was received: Unix time in seconds.
    pub at: f64,
    /// What it means for its guild.
    pub guild_change: Option<String>,
    /// The paths of the secrets that are not in it.
    pub redacted: Vec<String>,
    /// The JSON text of `d`, as it came.
    pub data: Vec<u8>,
}

/// What is read of one file.
struct Open {
    path: PathBuf,
    file: File,
    /// `None`: it is not compressed.
    context: Option<DCtx<'static>>,
    input: Vec<u8>,
    consumed: usize,
    ended: bool,
    /// A frame has begun and not ended.
    in_frame: bool,
    text: Vec<u8>,
    /// Where the next line begins.
    at: usize,
    /// So far no line end was found in the text.
    searched: usize,
    lines: u64,
}

/// Reads one recording. It may be written meanwhile: what is set aside while it is read is found in its turn.
pub struct Reader {
    path: PathBuf,
    /// The number of the last file that was set aside and read, or is being read; 0: none yet.
    last: u64,
    /// The file of that name, which is read when nothing is left that was set aside, has been opened; it is the end.
    at_end: bool,
    open: Option<Open>,
    torn: Vec<PathBuf>,
}

impl Reader {
    /// A reader of the recording at `path`, and of what was set aside of it.
    ///
    /// # Errors
    /// Where there is no such file. Files themselves are opened in their turn.
    pub fn new(path: &Path) -> io::Result<Self> {
        let this = Self { path: path.to_owned(), last: 0, at_end: false, open: None, torn: Vec::new() };
        if this.aside()?.is_none() || path.try_exists()? {
            // Opened for the error that it may give.
            File::open(path)?;
        }
        Ok(this)
    }

    /// The next file that was set aside.
    fn aside(&self) -> io::Result<Option<(u64, PathBuf)>> {
        match file::set_aside(&self.path) {
            Ok(found) => Ok(found.into_iter().find(|(number, _)| *number > self.last)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the next file. `None`: there is none.
    fn next(&mut self) -> io::Result<Option<Open>> {
        if self.at_end {
            return Ok(None);
        }
        // Opened before the others are looked for: where it is set aside between the two, it is found among them.
        let tail = File::open(&self.path);
        if let Some((number, path)) = self.aside()? {
            self.last = number;
            return Open::new(path.clone(), File::open(path)?).map(Some);
        }
        self.at_end = true;
        match tail {
            Ok(file) => Open::new(self.path.clone(), file).map(Some),
            // All of it was set aside.
            Err(error) if error.kind() == ErrorKind::NotFound && self.last > 0 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The files that ended within a frame or a line, so far: whoever wrote them was killed. What is whole is read.
    pub fn torn(&self) -> &[PathBuf] {
        &self.torn
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// `InvalidData` for what is no recording, with file and place; and what the system says.
    pub fn read(&mut self) -> io::Result<Option<Record>> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(record) = open.read()? {
                    return Ok(Some(record));
                }
                if open.is_torn() {
                    self.torn.push(open.path.clone());
                }
                self.open = None;
            }
            self.open = self.next()?;
            if self.open.is_none() {
                return Ok(None);
            }
        }
    }
}

impl Open {
    fn new(path: PathBuf, file: File) -> io::Result<Self> {
        let mut this = Self {
            path,
            file,
            context: None,
            input: Vec::new(),
            consumed: 0,
            ended: false,
            in_frame: false,
            text: Vec::new(),
            at: 0,
            searched: 0,
            lines: 0,
        };
        this.fill()?;
        if this.input.first() != Some(&b'{') {
            let mut context = DCtx::try_create().ok_or(ErrorKind::OutOfMemory)?;
            let set = context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX));
            set.map_err(|code| this.broken(zstd_safe::get_error_name(code)))?;
            this.context = Some(context);
        }
        Ok(this)
    }

    fn is_torn(&self) -> bool {
        self.in_frame || self.at < self.text.len()
    }

    fn broken(&self, what: &str) -> io::Error {
        let (path, after) = (self.path.display(), self.lines);
        io::Error::new(
            ErrorKind::InvalidData,
            format!("{path} is no recording, or damaged, after line {after}: {what}"),
        )
    }

    fn read(&mut self) -> io::Result<Option<Record>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.text[self.searched..]) {
                let end = self.searched + end;
                if let Some(record) = self.take_line(end)? {
                    return Ok(Some(record));
                }
                continue;
            }
            self.text.drain(..std::mem::take(&mut self.at));
            self.searched = self.text.len();
            if self.text.len() > LONGEST_LINE {
                return Err(self.broken("a line has no end"));
            }
            if !self.more()? {
                // Other tools need not end the last line. A part of one is no JSON.
                let whole = !self.in_frame && serde_json::from_slice::<serde::de::IgnoredAny>(&self.text).is_ok();
                return if whole { self.take_line(self.text.len()) } else { Ok(None) };
            }
        }
    }

    /// The line that ends at `end`; `None` where it is empty.
    fn take_line(&mut self, end: usize) -> io::Result<Option<Record>> {
        let line = self.text[self.at..end].trim_ascii();
        let read = if line.is_empty() { None } else { Some(line::read(line)) };
        self.at = (end + 1).min(self.text.len());
        self.searched = self.at;
        let Some(read) = read else { return Ok(None) };
        let (head, data) = read.map_err(|why| self.broken(&why))?;
        self.lines += 1;
        let line::Head { t: name, s: sequence, shard, at, guild_change, redacted, .. } = head;
        Ok(Some(Record { name, sequence, shard, at, guild_change, redacted, data }))
    }

    /// Appends to the text. `false`: there is nothing more.
    fn more(&mut self) -> io::Result<bool> {
        if self.consumed == self.input.len() && !self.ended {
            self.fill()?;
        }
        let Some(context) = &mut self.context else {
            self.text.append(&mut self.input);
            self.consumed = 0;
            return Ok(!self.ended);
        };
        if self.consumed == self.input.len() && !self.in_frame {
            return Ok(false);
        }
        let before = self.text.len();
        self.text.resize(before + CHUNK, 0);
        let mut input = InBuffer::around(&self.input);
        input.set_pos(self.consumed);
        let mut output = OutBuffer::around(&mut self.text[before..]);
        let wanted = context.decompress_stream(&mut output, &mut input);
        let (read, written) = (input.pos() - self.consumed, output.pos());
        self.consumed += read;
        self.text.truncate(before + written);
        match wanted {
            Ok(wanted) => self.in_frame = wanted > 0,
            Err(code) => return Err(self.broken(zstd_safe::get_error_name(code))),
        }
        // Of a frame that is cut off, nothing comes any more.
        Ok(read > 0 || written > 0)
    }

    fn fill(&mut self) -> io::Result<()> {
        self.input.resize(CHUNK, 0);
        self.consumed = 0;
        let count = loop {
            match self.file.read(&mut self.input) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                count => break count,
            }
        };
        self.input.truncate(*count.as_ref().unwrap_or(&0));
        self.ended = count? == 0;
        Ok(())
    }
}
