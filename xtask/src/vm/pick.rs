//! Picks the packages of a kernel from the names of all kernel packages.
//!
//! Debian has called them `linux-image-5.10.0-46-cloud-amd64` (the number before the flavour is the ABI's),
//! `linux-image-6.12.118+deb13-cloud-amd64`, and from 6.19 on `linux-binary-…` with the kernel and `linux-modules-…`
//! with its modules, which leaves `linux-image-…` empty. `-unsigned` has the same kernel without Secure Boot's signature.
//!
//! The modules come from another source package, and a mirror can have dropped them before the kernel: then the kernel
//! is taken without.

use std::cmp::Reverse;

use super::series::Series;

const FLAVOUR: &str = "-cloud-amd64";

/// One way to get a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// `uname -r`.
    pub(super) release: String,
    /// All the packages that it takes.
    pub(super) packages: Vec<String>,
}

/// The ways to get a kernel of this series, the best first: newest, then signed. A package index can name what the
/// mirror no longer has, so the caller tries more than one.
pub(super) fn candidates(names: &[String], series: Series) -> Vec<Candidate> {
    let mut found: Vec<(Reverse<Vec<u32>>, u8, Candidate)> = names
        .iter()
        .filter_map(|name| {
            let (rank, release, packages) = candidate(name, names)?;
            let numbers = numbers(&release);
            let wanted = numbers.starts_with(&[u32::from(series.major), u32::from(series.minor)]);
            // A name without an update number is a metapackage.
            (wanted && numbers.len() > 2).then_some((
                Reverse(numbers),
                rank,
                Candidate { release, packages },
            ))
        })
        .collect();
    found.sort_by(|(left, left_rank, _), (right, right_rank, _)| {
        (left, left_rank).cmp(&(right, right_rank))
    });
    found
        .into_iter()
        .map(|(_, _, candidate)| candidate)
        .collect()
}

fn candidate(name: &str, names: &[String]) -> Option<(u8, String, Vec<String>)> {
    let (kind, rest) = name.strip_prefix("linux-")?.split_once('-')?;
    let (version, suffix) = rest.split_once(FLAVOUR)?;
    // Not linux-binary-unsigned-….
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(())?;
    let release = format!("{version}{FLAVOUR}");
    let other =
        |kind: &str| Some(format!("linux-{kind}-{release}")).filter(|name| names.contains(name));
    match (kind, suffix) {
        ("binary", "") => {
            let packages = [Some(name.to_owned()), other("modules")]
                .into_iter()
                .flatten()
                .collect();
            Some((0, release, packages))
        }
        ("image", "") if other("binary").is_none() => Some((1, release, vec![name.to_owned()])),
        ("image", "-unsigned") if other("binary").is_none() => {
            Some((2, release, vec![name.to_owned()]))
        }
        _ => None,
    }
}

/// The numbers of a release before its flavour, which order releases: 6.12.118+deb13 is 6, 12, 118, 13.
fn numbers(release: &str) -> Vec<u32> {
    let version = release.split(FLAVOUR).next().unwrap_or(release);
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(names: &[&str], major: u16, minor: u16) -> Vec<Candidate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        candidates(&names, Series { major, minor })
    }

    fn packages(candidates: &[Candidate]) -> Vec<&str> {
        candidates
            .iter()
            .flat_map(|candidate| &candidate.packages)
            .map(String::as_str)
            .collect()
    }

    #[test]
    fn the_newest_comes_first_by_number_and_signed_before_unsigned() {
        let found = pick(
            &[
                "linux-image-6.12.90+deb12-cloud-amd64",
                "linux-image-6.12.118+deb13-cloud-amd64-unsigned",
                "linux-image-6.12.118+deb13-cloud-amd64",
                "linux-image-6.12.118+deb13-cloud-amd64-dbg",
                "linux-image-6.12.117+deb12-cloud-amd64",
            ],
            6,
            12,
        );
        assert_eq!(
            packages(&found),
            [
                "linux-image-6.12.118+deb13-cloud-amd64",
                "linux-image-6.12.118+deb13-cloud-amd64-unsigned",
                "linux-image-6.12.117+deb12-cloud-amd64",
                "linux-image-6.12.90+deb12-cloud-amd64",
            ]
        );
        assert_eq!(
            found.first().map(|first| first.release.as_str()),
            Some("6.12.118+deb13-cloud-amd64")
        );
    }

    #[test]
    fn metapackages_other_flavours_and_other_series_are_left_out() {
        let names = [
            "linux-image-6.1-cloud-amd64",
            "linux-image-cloud-amd64",
            "linux-binary-unsigned-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-56-amd64",
            "linux-image-6.12.1+deb12-cloud-amd64",
            "linux-image-6.16.12+deb13-cloud-amd64",
            "linux-headers-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
        ];
        assert_eq!(
            packages(&pick(&names, 6, 1)),
            ["linux-image-6.1.0-56-cloud-amd64"]
        );
    }

    #[test]
    fn a_backport_to_an_older_debian_comes_after_the_kernel_of_its_own() {
        let names = [
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
        ];
        assert_eq!(
            packages(&pick(&names, 6, 1)).first(),
            Some(&"linux-image-6.1.0-56-cloud-amd64")
        );
    }

    #[test]
    fn a_kernel_in_packages_of_its_parts_takes_both() {
        let names = [
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
        ];
        assert_eq!(
            packages(&pick(&names, 7, 3)),
            [
                "linux-binary-7.3.4+deb13-cloud-amd64",
                "linux-modules-7.3.4+deb13-cloud-amd64"
            ]
        );
    }

    #[test]
    fn a_kernel_whose_modules_are_gone_is_taken_without() {
        let names = [
            "linux-image-7.0.13+deb13-cloud-amd64",
            "linux-binary-7.0.13+deb13-cloud-amd64",
        ];
        assert_eq!(
            packages(&pick(&names, 7, 0)),
            ["linux-binary-7.0.13+deb13-cloud-amd64"]
        );
    }
}
