//! The bytes of a stored history: zstd frames, then a checksum of all of them.
//!
//! Each frame has zstd's checksum of its contents, so that a damaged frame of a killed run is noticed too. The first and the
//! last frame are skippable: zstd ignores them. The first says that there is a last one, which has the SHA-256 of all bytes
//! before it. Files of earlier versions have neither.

use std::fmt::Write;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};

/// Records are small and alike: the fastest level already shrinks them about tenfold.
const COMPRESSION_LEVEL: i32 = 1;

/// The start of the last frame: zstd's first magic number of skippable frames, and the length of the rest.
const MAGIC: [u8; 8] = [0x50, 0x2A, 0x4D, 0x18, SEAL_LENGTH as u8, 0, 0, 0];

/// What the last frame begins with.
const NAME: &[u8] = b"slotquake sha256 ";

/// The length of the last frame without its [`MAGIC`].
const SEAL_LENGTH: usize = NAME.len() + 64;

/// The first frame: it promises a checksum at the end.
const PROMISE: &[u8] = b"\x51\x2A\x4D\x18\x14\0\0\0slotquake has sha256";

/// Compresses the parts of a history, and ends it with a checksum.
#[derive(Debug, Default)]
pub struct Frames {
    digest: Sha256,
    has_begun: bool,
}

impl Frames {
    /// The bytes of the next frame.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn frame(&mut self, chunk: &[u8]) -> io::Result<Vec<u8>> {
        let mut compressor = zstd::bulk::Compressor::new(COMPRESSION_LEVEL)?;
        compressor.include_checksum(true)?;
        let mut frame = compressor.compress(chunk)?;
        if !std::mem::replace(&mut self.has_begun, true) {
            frame.splice(..0, PROMISE.iter().copied());
        }
        self.digest.update(&frame);
        Ok(frame)
    }

    /// The last bytes: the checksum of all frames.
    pub fn seal(self) -> Vec<u8> {
        [&MAGIC, NAME, hex(self.digest).as_bytes()].concat()
    }
}

/// The SHA-256 in lowercase hexadecimal.
pub fn hex(digest: Sha256) -> String {
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What the end of a stored history says about the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// The checksum matches.
    Intact,
    /// The checksum does not match.
    Broken,
    /// There is no checksum, though the version that wrote the file writes one: the file was cut off, or its end altered.
    Missing,
    /// An earlier version wrote the file.
    Unknown,
}

impl Seal {
    /// Reads a file once, in constant memory, and leaves it at its start.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(file: &mut (impl Read + Seek)) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        let before = length.saturating_sub((MAGIC.len() + SEAL_LENGTH) as u64);
        file.seek(SeekFrom::Start(before))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        file.seek(SeekFrom::Start(0))?;
        let Some(written) = end.strip_prefix(&MAGIC).and_then(|end| end.strip_prefix(NAME)) else {
            let mut start = Vec::new();
            file.by_ref().take(PROMISE.len() as u64).read_to_end(&mut start)?;
            file.seek(SeekFrom::Start(0))?;
            return Ok(if start == PROMISE { Self::Missing } else { Self::Unknown });
        };
        let mut digest = Sha256::new();
        let mut rest = file.by_ref().take(before);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match rest.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => digest.update(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(if hex(digest).as_bytes() == written { Self::Intact } else { Self::Broken })
    }
}

/// The lines of a text, one at a time, so that a text of any length needs little memory.
pub struct Lines<R> {
    text: BufReader<R>,
    line: Vec<u8>,
    /// The bytes left before the text is too long.
    left: u64,
    longest: u64,
}

/// What follows in a text.
pub enum Next<'a> {
    /// A line without its end.
    Line(&'a [u8]),
    /// The stream was cut off in this line, which may be empty.
    CutOff(&'a [u8]),
    /// The text has ended.
    End,
    /// The line is longer than allowed.
    LongLine,
    /// The text is longer than allowed.
    LongText,
    /// The stream cannot be read.
    Failed(io::Error),
}

impl<R: Read> Lines<R> {
    /// The lines of `text`, each of at most `longest` bytes, all together of at most `most`.
    pub fn new(text: R, longest: u64, most: u64) -> Self {
        Self { text: BufReader::new(text), line: Vec::new(), left: most, longest }
    }

    /// The next line.
    pub fn next(&mut self) -> Next<'_> {
        self.line.clear();
        let most = self.longest.min(self.left) + 1;
        let read = self.text.by_ref().take(most).read_until(b'\n', &mut self.line);
        let length = self.line.len() as u64;
        if length > self.left {
            return Next::LongText;
        }
        if length > self.longest {
            return Next::LongLine;
        }
        self.left -= length;
        match read {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Next::CutOff(&self.line),
            Err(error) => Next::Failed(error),
            Ok(0) => Next::End,
            Ok(_) => Next::Line(self.line.strip_suffix(b"\n").unwrap_or(&self.line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn stored(chunks: &[&[u8]]) -> Vec<u8> {
        let mut frames = Frames::default();
        let mut bytes = Vec::new();
        for chunk in chunks {
            bytes.extend(frames.frame(chunk).expect("compressed"));
        }
        bytes.extend(frames.seal());
        bytes
    }

    #[test]
    fn zstd_ignores_the_checksum_at_the_end() {
        let bytes = stored(&[b"one\n", b"two\n"]);
        assert_eq!(zstd::decode_all(bytes.as_slice()).expect("it reads"), b"one\ntwo\n");
    }

    #[test]
    fn the_checksum_covers_all_bytes_before_it() {
        let good = stored(&[b"one\n", b"two\n"]);
        let mut altered = good.clone();
        altered[9] ^= 1;
        let mut other = good.clone();
        *other.last_mut().expect("bytes") = b'x';
        let longer = [&good[..], b"\n"].concat();
        let earlier = zstd::encode_all(&b"one\n"[..], 1).expect("compressed");
        for (bytes, expected) in [
            (&good[..], Seal::Intact),
            (&altered, Seal::Broken),
            (&other, Seal::Broken),
            (&longer, Seal::Missing),
            (&good[..good.len() - 1], Seal::Missing),
            (&good[..40], Seal::Missing),
            (&earlier, Seal::Unknown),
            (&[], Seal::Unknown),
        ] {
            assert_eq!(Seal::of(&mut Cursor::new(bytes)).expect("it reads"), expected, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn lines_are_bounded() {
        let read = |text: &str, longest, most| {
            let mut lines = Lines::new(text.as_bytes(), longest, most);
            let mut seen = Vec::new();
            loop {
                seen.push(match lines.next() {
                    Next::Line(line) => String::from_utf8_lossy(line).into_owned(),
                    Next::CutOff(_) => "cut off".to_owned(),
                    Next::End => break seen.join("|"),
                    Next::LongLine => break format!("{}|long line", seen.join("|")),
                    Next::LongText => break format!("{}|long text", seen.join("|")),
                    Next::Failed(error) => break error.to_string(),
                });
            }
        };
        for (text, longest, most, expected) in [
            ("ab\ncd\n", 10, 10, "ab|cd"),
            ("ab\ncd", 10, 10, "ab|cd"),
            ("ab\ncd\n", 3, 6, "ab|cd"),
            ("ab\ncde\n", 3, 10, "ab|long line"),
            ("ab\ncd\n", 10, 5, "ab|long text"),
            ("", 10, 10, ""),
        ] {
            assert_eq!(read(text, longest, most), expected, "{text:?}");
        }
    }
}
