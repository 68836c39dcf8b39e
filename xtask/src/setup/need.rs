//! A thing that is missing, and how to come by it.

/// A thing that is missing on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// The Debian packages that bring it.
    pub(super) packages: &'static [&'static str],
    /// The services that those packages would start, by unit.
    pub(super) services: &'static [&'static str],
    /// How to come by it where these packages do not exist.
    pub(super) by_hand: String,
}

/// The packages of all needs, each once.
pub(super) fn packages(needs: &[Need]) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for package in needs.iter().flat_map(|need| need.packages) {
        if !packages.contains(package) {
            packages.push(*package);
        }
    }
    packages
}

/// A list of what to install by hand.
pub(super) fn by_hand(needs: &[Need]) -> String {
    let lines: Vec<_> = needs
        .iter()
        .map(|need| format!("  - {}", need.by_hand))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(packages: &'static [&'static str], by_hand: &str) -> Need {
        Need {
            packages,
            services: &[],
            by_hand: by_hand.to_owned(),
        }
    }

    #[test]
    fn a_package_is_named_once_and_every_need_is_told() {
        let needs = [
            need(&["iproute2"], "ip"),
            need(&["iproute2"], "ss"),
            need(&["nftables"], "nft"),
        ];
        assert_eq!(packages(&needs), ["iproute2", "nftables"]);
        assert_eq!(by_hand(&needs), "  - ip\n  - ss\n  - nft");
    }
}
