//! `make fuzz` in a few seconds.

use anyhow::{Result, ensure};
use std::process::Command;

#[test]
fn every_parser_survives_a_second_of_mutated_examples() -> Result<()> {
    let fuzz = Command::new(env!("CARGO_BIN_EXE_weir-fuzz")).args(["--seconds", "1"]).output()?;
    let said = String::from_utf8_lossy(&fuzz.stdout);
    ensure!(fuzz.status.success(), "{said}{}", String::from_utf8_lossy(&fuzz.stderr));
    ensure!(said.matches('✔').count() == 11, "{said}");
    Ok(())
}
