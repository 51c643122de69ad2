//! The bytes of a stored history: zstd frames, then a checksum of all of them.
//!
//! Each frame has zstd's checksum of its contents, so that a damaged frame of a killed run is noticed too. The first and the
//! last frame are skippable: zstd ignores them. The first says that there is a last one, which has the SHA-256 of all bytes
//! before it. Files of earlier versions have neither.

use std::fmt::{self, Write};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};
use zstd::bulk::Decompressor;
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe;

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

/// A block of zstd gets at least so many bytes. Each block has a code of its own, so that columns which differ do not spoil
/// each other's, but the code takes room, too.
const BLOCK_BYTES: usize = 200;

/// The most bytes that a block adds to what zstd says of a whole frame: its head.
const BLOCK_HEAD_BYTES: usize = 3;

/// Compresses the parts of a history, and ends it with a checksum.
#[derive(Default)]
pub struct Frames {
    digest: Sha256,
    has_begun: bool,
    compressor: Option<Encoder<'static>>,
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("has_begun", &self.has_begun).finish_non_exhaustive()
    }
}

impl Frames {
    /// The bytes of the next frame. Parts that are not alike compress better if they are given one by one.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn frame(&mut self, parts: &[impl AsRef<[u8]>]) -> io::Result<Vec<u8>> {
        let mut frame = self.compress(parts)?;
        if !std::mem::replace(&mut self.has_begun, true) {
            frame.splice(..0, PROMISE.iter().copied());
        }
        self.digest.update(&frame);
        Ok(frame)
    }

    fn compress(&mut self, parts: &[impl AsRef<[u8]>]) -> io::Result<Vec<u8>> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => {
                let mut compressor = Encoder::new(COMPRESSION_LEVEL)?;
                compressor.set_parameter(CParameter::ChecksumFlag(true))?;
                none.insert(compressor)
            }
        };
        compressor.reinit()?;
        let length: usize = parts.iter().map(|part| part.as_ref().len()).sum();
        compressor.set_pledged_src_size(Some(length as u64))?;
        let mut frame = Vec::with_capacity(zstd_safe::compress_bound(length) + parts.len() * BLOCK_HEAD_BYTES);
        let mut output = OutBuffer::around(&mut frame);
        let mut in_block = 0;
        for part in parts.iter().map(AsRef::as_ref) {
            if in_block >= BLOCK_BYTES {
                while compressor.flush(&mut output)? > 0 {}
                in_block = 0;
            }
            let mut input = InBuffer::around(part);
            while input.pos() < part.len() {
                compressor.run(&mut input, &mut output)?;
            }
            in_block += part.len();
        }
        while compressor.finish(&mut output, true)? > 0 {}
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

/// What follows in a file of frames.
pub enum Frame {
    /// What a frame holds, decompressed.
    Content(Vec<u8>),
    /// The file has ended.
    End,
    /// The file was cut off in the next frame.
    CutOff,
    /// The frame holds more than allowed.
    TooLong,
    /// The frames hold more than allowed.
    TooMuch,
    /// The next frame is damaged, in words.
    Damaged(String),
    /// The file cannot be read.
    Failed(io::Error),
}

/// The frames of a file, one at a time, so that a file of any length needs little memory.
pub struct FrameReader<R> {
    file: R,
    /// Bytes of the file; those before `start` are done with, those from `end` on are not read yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    decompressor: Decompressor<'static>,
    /// The bytes left before the file is too long.
    left: u64,
    longest: usize,
}

/// How much of a file is read at once at least.
const READ_BYTES: usize = 1 << 17;

impl<R: Read> FrameReader<R> {
    /// The frames of `file`, each of at most `longest` bytes, all together of at most `most`.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn new(file: R, longest: usize, most: u64) -> io::Result<Self> {
        let decompressor = Decompressor::new()?;
        Ok(Self { file, buffer: vec![0; READ_BYTES], start: 0, end: 0, decompressor, left: most, longest })
    }

    /// The next frames, until they hold so many bytes, or until one says that no more can be read.
    pub fn batch(&mut self, bytes: usize) -> Vec<Frame> {
        let (mut batch, mut length) = (Vec::new(), 0);
        while length < bytes {
            let frame = self.next();
            // An empty frame counts, too, so that the batch is bounded.
            length += if let Frame::Content(content) = &frame { content.len() + size_of::<Frame>() } else { bytes };
            batch.push(frame);
        }
        batch
    }

    /// The next frame. Frames that zstd skips are left out.
    pub fn next(&mut self) -> Frame {
        loop {
            let rest = &self.buffer[self.start..self.end];
            match zstd_safe::find_frame_compressed_size(rest) {
                Ok(length) if is_skippable(rest) => self.start += length,
                Ok(length) => return self.decompress(length),
                Err(code) if !is_incomplete(code) => return Frame::Damaged(in_words(code)),
                Err(_) if rest.len() > zstd_safe::compress_bound(self.longest) => return Frame::TooLong,
                Err(_) => match self.fill() {
                    Err(error) => return Frame::Failed(error),
                    Ok(0) if self.start == self.end => return Frame::End,
                    Ok(0) => return Frame::CutOff,
                    Ok(_) => {}
                },
            }
        }
    }

    /// Reads more of the file behind what is not done with yet. Returns how many bytes; 0 at its end.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.buffer.len() - self.end < READ_BYTES {
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
        loop {
            match self.file.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(read) => {
                    self.end += read;
                    return Ok(read);
                }
            }
        }
    }

    fn decompress(&mut self, length: usize) -> Frame {
        let frame = &self.buffer[self.start..self.start + length];
        self.start += length;
        let Ok(Some(size)) = zstd_safe::get_frame_content_size(frame) else {
            return Frame::Damaged("it does not say how long it is".to_owned());
        };
        if size > self.longest as u64 {
            return Frame::TooLong;
        }
        let Some(left) = self.left.checked_sub(size) else { return Frame::TooMuch };
        self.left = left;
        match self.decompressor.decompress(frame, size as usize) {
            Ok(content) => Frame::Content(content),
            Err(error) => Frame::Damaged(error.to_string()),
        }
    }
}

/// Whether zstd ignores the frame that begins here.
fn is_skippable(frame: &[u8]) -> bool {
    matches!(frame, [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..])
}

/// Whether zstd found less than a frame.
fn is_incomplete(code: zstd_safe::ErrorCode) -> bool {
    zstd_safe::get_error_name(code) == "Src size is incorrect"
}

fn in_words(code: zstd_safe::ErrorCode) -> String {
    zstd_safe::get_error_name(code).to_owned()
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
            bytes.extend(frames.frame(&[chunk]).expect("compressed"));
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
