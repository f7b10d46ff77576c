//! Cuts a partition's stream of bytes into blocks of whole records.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use wasmill_connector_api::format::{Framer, Prologue};
use wasmill_core::column::Scalar;
use wasmill_core::fault::{Domain, Fault};

/// No record may be longer than this: without a bound a missing line end would take all memory.
pub(crate) const RECORD_BYTES_MAX: usize = 64 << 20;

/// A stretch of whole records.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) prologue: Bytes,
    pub(crate) bytes: Bytes,
    /// The position of the first byte in the partition.
    pub(crate) position: u64,
    /// The line of the first record, where it is known here: after a beginning.
    pub(crate) first_line: Option<u64>,
    pub(crate) metadata: Arc<[Scalar]>,
}

/// What was read and is not yet whole.
pub(crate) struct Framing {
    framer: Box<dyn Framer>,
    make: Box<dyn Fn() -> Box<dyn Framer> + Send>,
    prologue: Option<Bytes>,
    /// Set while no record of this stream of bytes was given: the line of the first.
    first_line: Option<u64>,
    rest: BytesMut,
    /// The position of the first byte of `rest`.
    position: u64,
    metadata: Arc<[Scalar]>,
}

impl Framing {
    pub(crate) fn new(make: Box<dyn Fn() -> Box<dyn Framer> + Send>) -> Self {
        let framer = make();
        Self {
            framer,
            make,
            prologue: None,
            first_line: Some(1),
            rest: BytesMut::new(),
            position: 0,
            metadata: Arc::from([]),
        }
    }

    /// Adds bytes; gives the whole records that there are now.
    pub(crate) fn push(
        &mut self,
        bytes: Bytes,
        position: u64,
        metadata: Arc<[Scalar]>,
    ) -> Result<Option<Stretch>, Fault> {
        if self.rest.is_empty() {
            self.position = position;
            // Without a rest the bytes are taken as they are, without a copy.
            self.rest = bytes
                .try_into_mut()
                .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        } else {
            self.rest.extend_from_slice(&bytes);
        }
        self.metadata = metadata;
        self.cut(false)
    }

    /// The stream of bytes ends; gives what is left. Another may follow.
    pub(crate) fn end(&mut self) -> Result<Option<Stretch>, Fault> {
        let last = self.cut(true)?;
        self.framer = (self.make)();
        self.prologue = None;
        self.first_line = Some(1);
        self.rest.clear();
        Ok(last)
    }

    fn cut(&mut self, end: bool) -> Result<Option<Stretch>, Fault> {
        let prologue = match &self.prologue {
            Some(prologue) => prologue.clone(),
            None => match self.framer.prologue(&self.rest, end) {
                Prologue::Unknown => return self.check_size().map(|()| None),
                Prologue::Ends(len) => {
                    let prologue = self.rest.split_to(len).freeze();
                    self.position += len as u64;
                    self.first_line = Some(1 + memchr::memchr_iter(b'\n', &prologue).count() as u64);
                    self.prologue.insert(prologue).clone()
                }
            },
        };
        let whole = if self.rest.is_empty() {
            0
        } else {
            self.framer.whole_records(&self.rest, end)
        };
        if whole == 0 {
            return self.check_size().map(|()| None);
        }
        let bytes = self.rest.split_to(whole).freeze();
        let position = self.position;
        self.position += whole as u64;
        let first_line = self.first_line.take();
        Ok(Some(Stretch {
            prologue,
            bytes,
            position,
            first_line,
            metadata: Arc::clone(&self.metadata),
        }))
    }

    fn check_size(&self) -> Result<(), Fault> {
        if self.rest.len() <= RECORD_BYTES_MAX {
            return Ok(());
        }
        Err(Fault::fatal(
            Domain::User,
            format!(
                "the record at byte {} is longer than {} MiB",
                self.position,
                RECORD_BYTES_MAX >> 20
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lines, of which the first is a prologue if it starts with `#`.
    struct Lines;

    impl Framer for Lines {
        fn prologue(&mut self, bytes: &[u8], end_of_partition: bool) -> Prologue {
            match (bytes.first(), bytes.iter().position(|&byte| byte == b'\n')) {
                (Some(b'#'), Some(end)) => Prologue::Ends(end + 1),
                (Some(b'#'), None) if end_of_partition => Prologue::Ends(bytes.len()),
                (Some(b'#') | None, _) if !end_of_partition => Prologue::Unknown,
                _ => Prologue::Ends(0),
            }
        }

        fn whole_records(&mut self, bytes: &[u8], end_of_partition: bool) -> usize {
            let last = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            if end_of_partition { bytes.len() } else { last }
        }
    }

    fn framing() -> Framing {
        Framing::new(Box::new(|| Box::new(Lines)))
    }

    proptest! {
        #[test]
        fn every_byte_is_given_once_in_whole_lines_with_its_position(
            lines in prop::collection::vec("[a-z]{0,6}", 0..20), header: bool, open_end: bool, cut in 1..9_usize
        ) {
            let mut text = if header { "#head\n".to_owned() } else { String::new() };
            text.push_str(&lines.join("\n"));
            if !open_end && !text.is_empty() {
                text.push('\n');
            }
            let mut framing = framing();
            let mut stretches = Vec::new();
            let mut position = 0;
            for chunk in text.as_bytes().chunks(cut) {
                let bytes = Bytes::copy_from_slice(chunk);
                stretches.extend(framing.push(bytes, position, Arc::from([])).expect("short records"));
                position += chunk.len() as u64;
            }
            stretches.extend(framing.end().expect("short records"));

            let body = if header { &text.as_bytes()["#head\n".len()..] } else { text.as_bytes() };
            let given: Vec<u8> = stretches.iter().flat_map(|stretch| stretch.bytes.to_vec()).collect();
            prop_assert_eq!(&given, body);
            for (number, stretch) in stretches.iter().enumerate() {
                let at = stretch.position as usize;
                prop_assert_eq!(&text.as_bytes()[at..at + stretch.bytes.len()], &stretch.bytes[..]);
                prop_assert_eq!(&stretch.prologue[..], if header { &b"#head\n"[..] } else { b"" });
                let first_line = (number == 0).then_some(if header { 2 } else { 1 });
                prop_assert_eq!(stretch.first_line, first_line);
                prop_assert!(number + 1 == stretches.len() || stretch.bytes.ends_with(b"\n"));
            }
        }
    }

    #[test]
    fn the_next_stream_of_bytes_has_its_own_prologue_and_lines() {
        let mut framing = framing();
        let push = |framing: &mut Framing, text: &'static str, position| {
            framing
                .push(Bytes::from_static(text.as_bytes()), position, Arc::from([]))
                .expect("short records")
        };
        assert!(push(&mut framing, "#a\n1", 0).is_none());
        let last = framing.end().expect("short records").expect("the open line");
        assert_eq!(
            (&last.bytes[..], last.position, last.first_line),
            (&b"1"[..], 3, Some(2))
        );
        let next = push(&mut framing, "2\n", 100).expect("a line");
        assert_eq!(
            (&next.bytes[..], next.position, next.first_line),
            (&b"2\n"[..], 100, Some(1))
        );
        assert!(next.prologue.is_empty());
    }

    #[test]
    fn a_record_without_an_end_is_refused() {
        let mut framing = framing();
        let big = Bytes::from(vec![b'x'; RECORD_BYTES_MAX + 1]);
        let fault = framing.push(big, 0, Arc::from([])).expect_err("too long");
        assert!(fault.message.contains("longer than 64 MiB"), "{}", fault.message);
    }
}
