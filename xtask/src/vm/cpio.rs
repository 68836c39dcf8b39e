//! Writes the archive form of an initramfs: cpio "newc" (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::io::{self, Write};

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Folder,
    /// A file that everyone may read and run.
    File(Vec<u8>),
    /// A symbolic link to this path.
    Link(String),
    /// A character device of this major and minor number.
    Device(u32, u32),
}

/// Writes one archive. The kernel makes the entries in their order, so a folder stands before what is in it.
pub(super) struct Archive<W> {
    to: W,
    next_inode: u32,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, next_inode: 1 }
    }

    /// Adds an entry; the path has no leading slash.
    pub(super) fn add(&mut self, path: &str, node: &Node) -> io::Result<()> {
        let (mode, device, data): (u32, (u32, u32), &[u8]) = match node {
            Node::Folder => (0o040_755, (0, 0), &[]),
            Node::File(data) => (0o100_755, (0, 0), data),
            Node::Link(target) => (0o120_777, (0, 0), target.as_bytes()),
            Node::Device(major, minor) => (0o020_600, (*major, *minor), &[]),
        };
        self.entry(path, mode, device, data)
    }

    /// Writes the end mark and hands the writer back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.next_inode = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn entry(
        &mut self,
        path: &str,
        mode: u32,
        (major, minor): (u32, u32),
        data: &[u8],
    ) -> io::Result<()> {
        let too_large = |_| io::Error::other("too large for a cpio entry");
        let size = u32::try_from(data.len()).map_err(too_large)?;
        let name_size = u32::try_from(path.len() + 1).map_err(too_large)?;
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        let inode = self.next_inode;
        self.next_inode += 1;
        write!(self.to, "070701")?;
        // inode, mode, uid, gid, links, mtime, size, device, device number of a device, name's size, checksum
        for field in [
            inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0,
        ] {
            write!(self.to, "{field:08X}")?;
        }
        self.to.write_all(path.as_bytes())?;
        self.to.write_all(&[0])?;
        self.pad(HEADER + path.len() + 1)?;
        self.to.write_all(data)?;
        self.pad(data.len())
    }

    /// Everything starts at a multiple of four bytes.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.to
            .write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

/// The magic and 13 numbers of 8 digits.
const HEADER: usize = 6 + 13 * 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, Node)]) -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        for (path, node) in entries {
            archive.add(path, node).unwrap();
        }
        archive.finish().unwrap()
    }

    #[test]
    fn a_file_is_written_byte_by_byte_as_the_kernel_reads_it() {
        let bytes = archive(&[("a", Node::File(b"hello".to_vec()))]);
        let expected = concat!(
            "070701",
            "00000001",
            "000081ED",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000005",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000002",
            "00000000",
            "a\0",
            "hello\0\0\0",
            "070701",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "0000000B",
            "00000000",
            "TRAILER!!!\0\0\0\0",
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn every_entry_starts_at_a_multiple_of_four() {
        for length in 0..8 {
            let name = "n".repeat(length + 1);
            let bytes = archive(&[
                (name.as_str(), Node::File(vec![b'x'; length])),
                ("z", Node::Folder),
            ]);
            let text = String::from_utf8(bytes).unwrap();
            assert!(
                text.match_indices("070701").all(|(at, _)| at % 4 == 0),
                "{length}"
            );
        }
    }

    #[test]
    fn a_device_has_its_numbers_and_a_link_its_target() {
        let text = String::from_utf8(archive(&[
            ("c", Node::Device(5, 1)),
            ("l", Node::Link("to".to_owned())),
        ]))
        .unwrap();
        assert!(
            text.contains("00000005000000010000000200000000c\0"),
            "{text}"
        );
        assert!(text.contains("l\0to\0\0"), "{text}");
    }
}
