//! The eBPF object, embedded at build time.

/// The ELF file, aligned as its parser wants it.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-ebpf"));
