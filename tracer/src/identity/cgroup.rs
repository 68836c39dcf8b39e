//! What a cgroup's path tells: the container and the unit a process belongs to.

use std::borrow::Cow;

use serde::Serialize;

/// Where a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Path of the cgroup.
    pub path: Option<String>,
    /// The container, if its path names one.
    pub container: Option<Container>,
    /// The systemd unit, if its path names one.
    pub unit: Option<String>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Container {
    /// `docker`, `containerd`, `podman`, `crio`, or `kubernetes` where only the pod is told.
    pub runtime: Cow<'static, str>,
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// The pod's uid, where Kubernetes runs it.
    pub pod_uid: Option<String>,
}

/// How runtimes name a container's scope.
const SCOPES: [(&str, &str); 4] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("libpod-", "podman"),
    ("crio-", "crio"),
];

impl Place {
    /// Reads a cgroup's path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let levels: Vec<&str> = path.split('/').filter(|level| !level.is_empty()).collect();
        Self {
            path: Some(path.to_owned()),
            container: container(&levels),
            unit: unit(&levels),
        }
    }
}

/// The cgroup of a process, from the text of `/proc/PID/cgroup`: that of version 2 unless it is the
/// root, else the deepest of version 1.
#[must_use]
pub fn path_of(text: &str) -> String {
    let paths = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let hierarchy = parts.next()?;
        parts.next()?;
        Some((hierarchy, parts.next()?))
    });
    let mut best = "/";
    for (hierarchy, path) in paths {
        if hierarchy == "0" && path != "/" {
            return path.to_owned();
        }
        if path.matches('/').count() > best.matches('/').count() || best == "/" {
            best = path;
        }
    }
    best.to_owned()
}

fn container(levels: &[&str]) -> Option<Container> {
    let pod_uid = levels.iter().rev().find_map(|level| pod_uid(level));
    levels.iter().enumerate().rev().find_map(|(place, level)| {
        let name = level.strip_suffix(".scope").unwrap_or(level);
        let scoped = SCOPES
            .iter()
            .find_map(|(prefix, runtime)| Some((*runtime, name.strip_prefix(prefix)?)));
        // The cgroupfs driver gives the bare id, below a folder that tells the runtime.
        let (runtime, id) = scoped.unwrap_or_else(|| {
            let above = place.checked_sub(1).and_then(|above| levels.get(above));
            match above.copied() {
                Some("docker") => ("docker", name),
                Some("libpod_parent") => ("podman", name),
                _ => ("kubernetes", name),
            }
        });
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_id && (runtime != "kubernetes" || pod_uid.is_some())).then(|| Container {
            runtime: Cow::Borrowed(runtime),
            id: id.to_owned(),
            pod_uid: pod_uid.clone(),
        })
    })
}

/// The uid in a level such as `kubepods-burstable-pod1234_5678.slice` or `pod1234-5678`.
fn pod_uid(level: &str) -> Option<String> {
    let name = level.strip_suffix(".slice").unwrap_or(level);
    let uid = match name.strip_prefix("pod") {
        Some(uid) => uid,
        None if name.starts_with("kubepods") => name.rsplit_once("-pod")?.1,
        None => return None,
    };
    let uid = uid.replace('_', "-");
    let is_uid = uid.len() == 36
        && uid
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_uid.then_some(uid)
}

fn unit(levels: &[&str]) -> Option<String> {
    levels
        .iter()
        .rev()
        .find(|level| level.ends_with(".service"))
        .map(|level| (*level).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "12345678-1234-1234-1234-123456789abc";

    fn of(path: &str) -> Option<(Cow<'static, str>, String, Option<String>)> {
        Place::of(path)
            .container
            .map(|container| (container.runtime, container.id, container.pod_uid))
    }

    #[test]
    fn containers_of_each_runtime() {
        let id = || ID.to_owned();
        let uid = || Some(UID.to_owned());
        let slice = UID.replace('-', "_");
        for (path, expected) in [
            (
                format!("/system.slice/docker-{ID}.scope"),
                ("docker", id(), None),
            ),
            (format!("/docker/{ID}"), ("docker", id(), None)),
            (
                format!("/machine.slice/libpod-{ID}.scope/container"),
                ("podman", id(), None),
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-{ID}.scope"
                ),
                ("containerd", id(), uid()),
            ),
            (
                format!("/kubepods.slice/kubepods-pod{slice}.slice/crio-{ID}.scope"),
                ("crio", id(), uid()),
            ),
            (
                format!("/kubepods/besteffort/pod{UID}/{ID}"),
                ("kubernetes", id(), uid()),
            ),
        ] {
            let (runtime, id, pod_uid) = expected;
            assert_eq!(
                of(&path),
                Some((Cow::Borrowed(runtime), id, pod_uid)),
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_no_container() {
        for path in [
            "/",
            "/system.slice/nginx.service",
            "/docker/short",
            "/user.slice/session-1.scope",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
        // A bare id under an unknown folder may be anything.
        assert_eq!(of(&format!("/other/{ID}")), None);
    }

    #[test]
    fn units() {
        assert_eq!(
            Place::of("/system.slice/nginx.service").unit.as_deref(),
            Some("nginx.service")
        );
        assert_eq!(Place::of("/user.slice/session-1.scope").unit, None);
    }

    #[test]
    fn the_path_of_version_2_goes_before_version_1() {
        assert_eq!(path_of("3:memory:/a/b\n0::/x.service\n"), "/x.service");
        assert_eq!(path_of("3:memory:/a/b\n1:name=systemd:/\n0::/\n"), "/a/b");
        assert_eq!(path_of("0::/\n"), "/");
        assert_eq!(path_of(""), "/");
    }
}
