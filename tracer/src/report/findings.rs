//! What is wrong, above all numbers.

use crate::{
    diagnose::{Finding, format::when},
    document::{Block, Callout, Document, Table, words},
};

pub(super) fn write(findings: &[Finding], to: &mut Document) {
    if findings.is_empty() {
        return;
    }
    to.section("What is wrong");
    for finding in findings {
        to.blocks.push(Block::Callout(Callout {
            level: finding.severity.name(),
            title: finding.name.to_owned(),
            text: finding.sentence.clone(),
        }));
        let columns = vec![
            words("EVIDENCE"),
            words("VALUE"),
            words("WHERE IT COMES FROM"),
        ];
        let evidence = &finding.evidence;
        to.table(Table::of("", columns, evidence, evidence.len(), |one| {
            vec![one.name.clone(), one.value.clone(), one.source.clone()]
        }));
        to.blocks.push(Block::Steps(finding.remedy.clone()));
        to.text(format!("{} More: {}", when(finding), finding.page));
    }
}
