//! Where the running kernel's fields are, from its BTF.

use std::{collections::BTreeMap, fs};

use btfparse::{Integer32Value, Offset, Readable, TypeInformation, TypeVariant};
use tracer_common::fields::{Field, Fields, MISSING};

use super::prototype::prototype;
use crate::error::{Error, Result};

/// `include/uapi/linux/bpf.h: struct bpf_link_info`, from 6.7.
const PROBE_MISSED: Field = Field {
    name: "kretprobe_missed",
    of: "bpf_link_info",
    paths: &["perf_event.kprobe.missed"],
    switches_off: Some("on the rung `kprobe`: how often a probe missed"),
};

/// Where the kernel shows its BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

pub(super) struct Bytes(pub(super) Vec<u8>);

impl Readable for Bytes {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
        let piece = usize::try_from(offset)
            .ok()
            .and_then(|start| self.0.get(start..start.checked_add(buffer.len())?));
        match piece {
            Some(piece) => {
                buffer.copy_from_slice(piece);
                Ok(())
            }
            None => Err(btfparse::Error::new(
                btfparse::ErrorKind::EOF,
                "the BTF data ends too early",
            )),
        }
    }
}

/// What the kernel programs need to know of the running kernel.
pub struct KernelTypes {
    types: TypeInformation,
}

impl KernelTypes {
    /// Reads the running kernel's BTF.
    ///
    /// # Errors
    ///
    /// When the kernel shows none, or it can't be parsed.
    pub fn read() -> Result<Self> {
        let none = |why: &str| {
            Error::unsupported(
                format!("the kernel's type information can't be read: {VMLINUX}: {why}"),
                "tcptrace needs a kernel built with CONFIG_DEBUG_INFO_BTF=y (every current distribution's is), and /sys mounted",
            )
        };
        let bytes = fs::read(VMLINUX).map_err(|error| none(&error.to_string()))?;
        if bytes.is_empty() {
            return Err(none("it is empty"));
        }
        let types = TypeInformation::new(&Bytes(bytes)).map_err(|error| {
            Error::unsupported(
                format!("the kernel's type information can't be parsed: {VMLINUX}: {error:?}"),
                "report this with the output of `uname -r`",
            )
        })?;
        Ok(Self { types })
    }

    /// The offsets of all fields, in bytes.
    ///
    /// # Errors
    ///
    /// Names every field that is missing and that nothing works without.
    pub fn fields(&self) -> Result<Fields> {
        let mut offsets = [MISSING; Fields::ALL.len()];
        let mut missing = Vec::new();
        for (slot, field) in offsets.iter_mut().zip(Fields::ALL) {
            match self.offset(field) {
                Some(offset) => *slot = offset,
                None if field.switches_off.is_none() => {
                    missing.push(format!("{}.{}", field.of, field.paths.join(" or ")));
                }
                None => {}
            }
        }
        if missing.is_empty() {
            return Ok(Fields::from_offsets(offsets));
        }
        Err(Error::unsupported(
            format!("this kernel's types lack {}", missing.join(", ")),
            "tcptrace supports Linux 5.10 to 7.3; report this with the output of `uname -r`",
        ))
    }

    /// Fields that this kernel lacks, and what is switched off without each.
    #[must_use]
    pub fn switched_off(&self) -> BTreeMap<&'static str, &'static str> {
        Fields::ALL
            .iter()
            .chain([&PROBE_MISSED])
            .filter_map(|field| Some((field, field.switches_off?)))
            .filter(|(field, effect)| !effect.is_empty() && self.offset(field).is_none())
            .map(|(field, effect)| (field.name, effect))
            .collect()
    }

    /// Where the kernel's answer about a probe's link tells how often the probe missed.
    pub(super) fn missed_by_probe(&self) -> Option<u32> {
        self.offset(&PROBE_MISSED)
    }

    fn offset(&self, field: &Field) -> Option<u32> {
        let id = self.struct_id(field.of)?;
        field.paths.iter().find_map(|path| {
            Some(match self.types.offset_of(id, path).ok()?.1 {
                Offset::ByteOffset(bytes) => bytes,
                Offset::BitOffsetAndSize(bits, _) => bits / 8,
            })
        })
    }

    /// A struct by name. A mere declaration may have the same name (5.10 has one of `pt_regs`).
    fn struct_id(&self, name: &str) -> Option<u32> {
        let is_it = |candidate: &TypeVariant| matches!(candidate, TypeVariant::Struct(it) if it.name().as_deref() == Some(name));
        let id = self.types.id_of(name)?;
        if self.types.from_id(id).is_some_and(|found| is_it(&found)) {
            return Some(id);
        }
        let mut all = self.types.get().iter();
        all.find_map(|(id, candidate)| is_it(candidate).then_some(*id))
    }

    /// The prototype of a typed tracepoint, without the kernel's own first argument; `None` when there is no such
    /// tracepoint.
    #[must_use]
    pub fn prototype_of_tracepoint(&self, name: &str) -> Option<String> {
        let id = self.types.id_of(&format!("btf_trace_{name}"))?;
        let TypeVariant::Typedef(alias) = self.types.from_id(id)? else {
            return None;
        };
        let TypeVariant::Ptr(pointer) = self.types.from_id(*alias.tid())? else {
            return None;
        };
        prototype(&self.types, *pointer.tid(), 1)
    }

    /// Numbers and names of an enum; empty when the kernel has none of this name.
    #[must_use]
    pub fn names_of(&self, name: &str) -> BTreeMap<u32, String> {
        let Some(TypeVariant::Enum(values)) =
            self.types.id_of(name).and_then(|id| self.types.from_id(id))
        else {
            return BTreeMap::new();
        };
        values
            .named_value_list()
            .iter()
            .filter_map(|value| {
                let number = match value.value {
                    Integer32Value::Signed(number) => u32::try_from(number).ok()?,
                    Integer32Value::Unsigned(number) => number,
                };
                Some((number, value.name.clone()))
            })
            .collect()
    }

    /// The prototype of a function; `None` when the kernel has none of this name.
    #[must_use]
    pub fn prototype_of_function(&self, name: &str) -> Option<String> {
        let TypeVariant::Func(function) = self.types.from_id(self.types.id_of(name)?)? else {
            return None;
        };
        prototype(&self.types, *function.prototype_tid(), 0)
    }

    /// Whether the kernel has a BPF helper, `enum bpf_func_id`.
    #[must_use]
    pub fn has_helper(&self, name: &str) -> bool {
        let wanted = format!("BPF_FUNC_{name}");
        self.names_of("bpf_func_id")
            .values()
            .any(|helper| *helper == wanted)
    }
}
