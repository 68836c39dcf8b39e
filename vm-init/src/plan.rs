//! The plan: which modules to load, which environment to set and which tests to run, one line each.
//!
//! Fields are separated by tabs, so a field holds neither a tab nor a line break.
//!
//! ```text
//! module  /vm/modules/veth.ko
//! env     TCPTRACE  /usr/bin/tcptrace
//! test    e2e::connect  auto  60  /vm/tests/e2e  --exact  connect
//! ```

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Where the plan stands in the initramfs.
pub const PATH: &str = "/vm/plan";

/// Everything that the init does between its mounts and the power-off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Kernel modules, in the order in which they are loaded.
    pub modules: Vec<String>,
    /// Environment variables of every test.
    pub env: Vec<(String, String)>,
    /// Tests, in the order in which they run.
    pub tests: Vec<Test>,
}

/// One command that passes when it exits with 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Unique within its rung.
    pub name: String,
    /// The rung of the attach ladder that the command is made to use.
    pub rung: String,
    /// After this long the test is killed and has failed. Whole seconds.
    pub timeout: Duration,
    /// Program and arguments.
    pub argv: Vec<String>,
}

impl Plan {
    /// Writes the plan in the form that [`Plan::parse`] reads.
    ///
    /// # Errors
    ///
    /// When a field holds a tab or a line break.
    pub fn render(&self) -> Result<String> {
        let mut text = String::new();
        for module in &self.modules {
            line(&mut text, &["module", module])?;
        }
        for (key, value) in &self.env {
            line(&mut text, &["env", key, value])?;
        }
        for test in &self.tests {
            let seconds = test.timeout.as_secs().to_string();
            let mut fields = vec!["test", &test.name, &test.rung, &seconds];
            fields.extend(test.argv.iter().map(String::as_str));
            line(&mut text, &fields)?;
        }
        Ok(text)
    }

    /// Reads a plan.
    ///
    /// # Errors
    ///
    /// Names the first line that is not one of the plan's.
    pub fn parse(text: &str) -> Result<Self> {
        let mut plan = Self::default();
        for (index, line) in text.lines().enumerate() {
            plan.take(line)
                .with_context(|| format!("line {} of the plan: {line:?}", index + 1))?;
        }
        Ok(plan)
    }

    fn take(&mut self, line: &str) -> Result<()> {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            [""] => {}
            ["module", path] => self.modules.push((*path).to_owned()),
            ["env", key, value] => self.env.push(((*key).to_owned(), (*value).to_owned())),
            ["test", name, rung, seconds, argv @ ..] if !argv.is_empty() => self.tests.push(Test {
                name: (*name).to_owned(),
                rung: (*rung).to_owned(),
                timeout: Duration::from_secs(
                    seconds
                        .parse()
                        .context("the time limit is not a number of seconds")?,
                ),
                argv: argv.iter().map(|field| (*field).to_owned()).collect(),
            }),
            _ => bail!("not a line of a plan"),
        }
        Ok(())
    }
}

fn line(text: &mut String, fields: &[&str]) -> Result<()> {
    for field in fields {
        ensure!(
            !field.contains(['\t', '\n', '\r']),
            "a plan cannot hold {field:?}: it has a tab or a line break"
        );
    }
    text.push_str(&fields.join("\t"));
    text.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            modules: vec!["/vm/modules/veth.ko".to_owned()],
            env: vec![("TCPTRACE".to_owned(), "/usr/bin/tcptrace".to_owned())],
            tests: vec![Test {
                name: "states".to_owned(),
                rung: "auto".to_owned(),
                timeout: Duration::from_secs(60),
                argv: vec!["/init".to_owned(), "check".to_owned(), String::new()],
            }],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(Plan::parse(&plan().render().unwrap()).unwrap(), plan());
    }

    #[test]
    fn a_field_with_a_separator_is_refused() {
        let mut plan = plan();
        plan.env[0].1 = "a\tb".to_owned();
        assert!(plan.render().is_err());
    }

    #[test]
    fn a_foreign_line_is_named() {
        let error = Plan::parse("module\t/a.ko\ntest\tname\tauto\t60\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
