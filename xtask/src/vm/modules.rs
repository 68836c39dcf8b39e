//! Which kernel modules the tests need, and in which order they load.

use std::collections::{BTreeMap, BTreeSet};

/// What the tests need beside the kernel: a pair of interfaces between namespaces, rules that drop packets, and
/// sockets shown over netlink. Each may be built in, and one that a kernel does not have at all is left out.
pub(super) const WANTED: &[&str] = &[
    "veth",
    "inet_diag",
    "tcp_diag",
    "nf_tables",
    "nft_counter",
    "nft_ct",
    "nft_limit",
    "nft_numgen",
    "nft_reject",
    "nft_reject_inet",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
    "nft_chain_nat",
    "nft_nat",
];

/// `modules.dep`: module file to the files that it needs. depmod writes all of them, each before what it needs itself.
pub(super) fn parse_dep(text: &str) -> BTreeMap<String, Vec<String>> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| {
            (
                file.trim().to_owned(),
                needs.split_whitespace().map(str::to_owned).collect(),
            )
        })
        .collect()
}

/// The files of the wanted modules and all that they need, each after what it needs itself.
pub(super) fn load_order(dep: &BTreeMap<String, Vec<String>>, wanted: &[&str]) -> Vec<String> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for name in wanted {
        for file in dep.keys().filter(|file| module_name(file) == *name) {
            visit(dep, file, &mut seen, &mut order);
        }
    }
    order
}

fn visit(
    dep: &BTreeMap<String, Vec<String>>,
    file: &str,
    seen: &mut BTreeSet<String>,
    order: &mut Vec<String>,
) {
    if !seen.insert(file.to_owned()) {
        return;
    }
    for need in dep.get(file).into_iter().flatten() {
        visit(dep, need, seen, order);
    }
    order.push(file.to_owned());
}

/// `kernel/net/netfilter/nft_ct.ko.xz` is `nft_ct`. The kernel takes `-` and `_` for the same.
pub(super) fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split(".ko").next().unwrap_or(name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/net/netfilter/nft_ct.ko.xz: kernel/net/netfilter/nf_tables.ko.xz kernel/net/netfilter/nf_conntrack.ko.xz kernel/lib/crc32.ko.xz
kernel/net/netfilter/nf_tables.ko.xz: kernel/lib/crc32.ko.xz
kernel/net/netfilter/nf_conntrack.ko.xz:
kernel/lib/crc32.ko.xz:
kernel/drivers/net/veth.ko.xz:
kernel/fs/big-file.ko.xz:
";

    #[test]
    fn a_module_comes_after_all_that_it_needs_and_once() {
        let order = load_order(&parse_dep(DEP), &["nft_ct", "nf_tables", "veth"]);
        let names: Vec<String> = order.iter().map(|file| module_name(file)).collect();
        assert_eq!(
            names,
            ["crc32", "nf_tables", "nf_conntrack", "nft_ct", "veth"]
        );
    }

    #[test]
    fn a_module_that_is_built_in_or_missing_is_left_out() {
        assert!(load_order(&parse_dep(DEP), &["ipv6"]).is_empty());
    }

    #[test]
    fn modules_that_need_each_other_do_not_loop() {
        let dep = parse_dep("a.ko: b.ko\nb.ko: a.ko\n");
        assert_eq!(load_order(&dep, &["a"]), ["b.ko", "a.ko"]);
    }

    #[test]
    fn a_name_has_neither_folder_nor_compression_nor_dashes() {
        assert_eq!(module_name("kernel/fs/big-file.ko.xz"), "big_file");
        assert_eq!(module_name("veth.ko"), "veth");
    }
}
