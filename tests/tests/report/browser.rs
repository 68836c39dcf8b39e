//! The page of a report, in a browser.

use std::fs;

use tcptrace_tests::{
    Netns, need_program,
    trouble::{Trouble, printed},
};

/// Headless Chromium, in a namespace with no network at all, shows the numbers and asks for nothing but the page.
pub(crate) fn shows(trouble: &Trouble, sentences: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    fs::write(&page, trouble.report(&["--format", "html"])).unwrap();
    let log = folder.path().join("net.json");
    let netns = Netns::new();
    let browser = |arguments: &[String]| {
        let mut command = netns.command(need_program("chromium", "chromium"));
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--window-size=1280,2000",
            ])
            .args([
                "--disable-background-networking",
                "--disable-features=NetworkTimeServiceQuerying",
                "--disable-component-update",
                "--no-first-run",
            ])
            .arg(format!(
                "--user-data-dir={}",
                folder.path().join("profile").display()
            ))
            .args(arguments)
            .arg(format!("file://{}", page.display()))
            .env("HOME", folder.path());
        printed(&mut command)
    };
    let dom = browser(&[
        String::from("--dump-dom"),
        format!("--log-net-log={}", log.display()),
    ]);
    for sentence in sentences {
        assert!(dom.contains(sentence), "{sentence} in {dom}");
    }
    let charts = dom.matches("<svg").count();
    assert!(charts >= 6, "{charts} charts");
    // Of each chart of rates the line, of each distribution the bars, of the states the areas.
    for drawn in [
        "<polyline",
        "class=\"bar\"",
        "<polygon",
        "Sockets in each state",
        "Handshakes of traffic",
    ] {
        assert!(dom.contains(drawn), "{drawn} in {dom}");
    }
    assert!(!dom.contains("<script"), "{dom}");
    let asked = fs::read_to_string(&log).unwrap();
    let asked: Vec<&str> = asked
        .split("\"url\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let page = page.display().to_string();
    let other: Vec<_> = asked
        .iter()
        .filter(|url| {
            !(url.starts_with("data:") || url.starts_with("file://") && url.ends_with(&page))
        })
        // The browser has affairs of its own; a page without a script asks only for what it names.
        .filter(|url| dom.contains(**url))
        .collect();
    assert!(other.is_empty(), "{other:?}");

    // A chart is drawn: the picture has the colour of its line.
    let picture = folder.path().join("page.png");
    browser(&[format!("--screenshot={}", picture.display())]);
    let size = fs::metadata(&picture).unwrap().len();
    assert!(size > 20_000, "{size} bytes: an empty page?");
}
