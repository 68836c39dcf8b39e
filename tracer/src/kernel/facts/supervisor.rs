//! supervisord's `minfds`: up to there it raises its own limit, and its programs inherit that.

use std::{
    fs,
    path::{Path, PathBuf},
};

use procfs::process::Process;

/// What supervisord takes where neither its arguments nor its configuration say anything.
const DEFAULT: i64 = 1024;

/// `minfds` of a process that is a supervisord; `None` where its configuration can't be read.
pub(super) fn minfds(process: &Process) -> Option<i64> {
    let arguments = process.cmdline().ok()?;
    let at = arguments
        .iter()
        .position(|argument| argument.rsplit('/').next() == Some("supervisord"))?;
    let (program, given) = (&arguments[at], &arguments[at + 1..]);
    if let Some(number) = option(given, "-a", "--minfds") {
        return number.parse().ok();
    }
    let root = PathBuf::from(format!("/proc/{}/root", process.pid()));
    let folder = process.cwd().unwrap_or_default();
    let read = |path: &Path| {
        let path = folder.join(path);
        let inside = root.join(path.strip_prefix("/").unwrap_or(&path));
        fs::read_to_string(inside).ok()
    };
    let text = match option(given, "-c", "--configuration") {
        Some(path) => read(Path::new(path)),
        None => searched(Path::new(program)).iter().find_map(|it| read(it)),
    };
    Some(in_section(&text?).unwrap_or(DEFAULT))
}

/// Where it looks for its configuration, in this order: `supervisor/options.py: Options.__init__`.
fn searched(program: &Path) -> [PathBuf; 6] {
    let above = program.parent().and_then(Path::parent);
    let above = above.unwrap_or_else(|| Path::new(""));
    [
        above.join("etc/supervisord.conf"),
        above.join("supervisord.conf"),
        "supervisord.conf".into(),
        "etc/supervisord.conf".into(),
        "/etc/supervisord.conf".into(),
        "/etc/supervisor/supervisord.conf".into(),
    ]
}

/// An option's value, however it is written: `-c FILE`, `-cFILE`, `--configuration FILE`, `--configuration=FILE`.
fn option<'a>(arguments: &'a [String], short: &str, long: &str) -> Option<&'a str> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == short || argument == long {
            return rest.next().map(String::as_str);
        }
        let joined = match argument.strip_prefix(long) {
            Some(value) => value.strip_prefix('='),
            None => argument.strip_prefix(short),
        };
        if joined.is_some() {
            return joined;
        }
    }
    None
}

/// `minfds` in the section `[supervisord]`.
fn in_section(text: &str) -> Option<i64> {
    text.lines()
        .map(str::trim)
        .skip_while(|line| *line != "[supervisord]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .find_map(|line| {
            let (name, value) = line.split_once(['=', ':'])?;
            let value = value.split(';').next()?;
            (name.trim() == "minfds").then(|| value.trim().parse().ok())?
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minfds_is_that_of_supervisord() {
        let text = "[unix_http_server]\nminfds=1\n[supervisord]\nnodaemon=true\nminfds = 64 ; few\n[program:x]\nminfds=9\n";
        assert_eq!(in_section(text), Some(64));
        assert_eq!(in_section("[supervisord]\n[program:x]\nminfds=9\n"), None);
    }

    #[test]
    fn an_option_is_written_in_four_ways() {
        for written in [
            &["-n", "-c", "a.conf"][..],
            &["-n", "-ca.conf"],
            &["--configuration", "a.conf"],
            &["--configuration=a.conf"],
        ] {
            let written: Vec<String> = written.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(option(&written, "-c", "--configuration"), Some("a.conf"));
            assert_eq!(option(&written, "-a", "--minfds"), None);
        }
    }

    #[test]
    fn the_nearest_configuration_comes_first() {
        let searched = searched(Path::new("/opt/venv/bin/supervisord"));
        assert_eq!(searched[0], Path::new("/opt/venv/etc/supervisord.conf"));
        assert_eq!(searched[5], Path::new("/etc/supervisor/supervisord.conf"));
    }
}
