//! Prototypes as text, from BTF: `(const struct sock *, int) -> int`, nothing after the bracket for `void`.

use btfparse::{TypeInformation, TypeVariant};

/// A prototype without its first `skipped` parameters; `None` when the type is none.
pub(super) fn prototype(types: &TypeInformation, id: u32, skipped: usize) -> Option<String> {
    let TypeVariant::FuncProto(prototype) = types.get().get(&id)? else {
        return None;
    };
    let parameters: Vec<String> = prototype
        .parameter_list()
        .iter()
        .skip(skipped)
        .map(|parameter| name(types, parameter.tid()))
        .collect();
    let returned = match *prototype.return_tid() {
        0 => String::new(),
        id => format!(" -> {}", name(types, id)),
    };
    Some(format!("({}){returned}", parameters.join(", ")))
}

/// A type as C writes it. What a pointer to a function takes is left out: `fn *`.
fn name(types: &TypeInformation, id: u32) -> String {
    let named = |kind: &str, name: &Option<String>| {
        format!("{kind}{}", name.as_deref().unwrap_or("(anonymous)"))
    };
    let qualified = |qualifier: &str, id: u32| {
        let inner = name(types, id);
        if inner.ends_with('*') {
            inner + qualifier
        } else {
            format!("{qualifier} {inner}")
        }
    };
    match types.get().get(&id) {
        // Type 0 has no entry.
        None | Some(TypeVariant::Void) => "void".to_owned(),
        Some(TypeVariant::Int(it)) => named("", it.name()),
        Some(TypeVariant::Float(it)) => named("", it.name()),
        Some(TypeVariant::Typedef(it)) => named("", it.name()),
        Some(TypeVariant::Struct(it)) => named("struct ", it.name()),
        Some(TypeVariant::Fwd(it)) => named("struct ", it.name()),
        Some(TypeVariant::Union(it)) => named("union ", it.name()),
        Some(TypeVariant::Enum(it)) => named("enum ", it.name()),
        Some(TypeVariant::Enum64(it)) => named("enum ", it.name()),
        Some(TypeVariant::Ptr(it)) => {
            let to = name(types, *it.tid());
            let space = if to.ends_with('*') { "" } else { " " };
            format!("{to}{space}*")
        }
        Some(TypeVariant::Const(it)) => qualified("const", *it.tid()),
        Some(TypeVariant::Volatile(it)) => qualified("volatile", *it.tid()),
        Some(TypeVariant::Restrict(it)) => qualified("restrict", *it.tid()),
        Some(TypeVariant::TypeTag(it)) => name(types, *it.tid()),
        Some(TypeVariant::FuncProto(_)) => "fn".to_owned(),
        Some(other) => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::btf::Bytes;

    /// A BTF blob (`Documentation/bpf/btf.rst`): types of name, kind and length, size or type, and what follows.
    fn blob(types: &[(&str, u32, u32, &[u32])]) -> TypeInformation {
        let (mut section, mut strings) = (Vec::<u8>::new(), vec![0]);
        for (name, kind_and_length, size_or_type, rest) in types {
            let at = if name.is_empty() { 0 } else { strings.len() };
            if !name.is_empty() {
                strings.extend(name.bytes().chain([0]));
            }
            let head = [u32::try_from(at).unwrap(), *kind_and_length, *size_or_type];
            for word in head.iter().chain(*rest) {
                section.extend(word.to_le_bytes());
            }
        }
        let lengths = [section.len(), strings.len()].map(|len| u32::try_from(len).unwrap());
        let mut bytes = vec![0x9F, 0xEB, 1, 0];
        for word in [24, 0, lengths[0], lengths[0], lengths[1]] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(section);
        bytes.extend(strings);
        TypeInformation::new(&Bytes(bytes)).unwrap()
    }

    const fn kind(kind: u32, length: u32) -> u32 {
        kind << 24 | length
    }

    #[test]
    fn types_are_written_as_in_c() {
        // Identifiers count from 1.
        let types = blob(&[
            ("int", kind(1, 0), 4, &[0x0100_0020]),
            ("sock", kind(4, 0), 0, &[]),
            ("", kind(10, 0), 2, &[]),
            ("", kind(2, 0), 3, &[]),
            ("", kind(10, 0), 4, &[]),
            ("sk_rst_reason", kind(6, 0), 4, &[]),
            ("pid_t", kind(8, 0), 1, &[]),
            ("", kind(2, 0), 4, &[]),
            ("", kind(2, 0), 0, &[]),
            ("", kind(13, 2), 4, &[0, 4, 0, 1]),
            ("", kind(13, 6), 0, &[0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 12]),
            ("", kind(2, 0), 10, &[]),
        ]);
        let text = |id, skipped| prototype(&types, id, skipped);
        assert_eq!(
            text(10, 0).as_deref(),
            Some("(const struct sock *, int) -> const struct sock *")
        );
        assert_eq!(text(10, 1).as_deref(), Some("(int) -> const struct sock *"));
        assert_eq!(
            text(11, 0).as_deref(),
            Some(
                "(const struct sock *const, enum sk_rst_reason, pid_t, const struct sock **, void *, fn *)"
            )
        );
        assert_eq!(text(1, 0), None, "an int is no prototype");
    }
}
