//! Tells the linker to write small copies and fills out as loads and stores: its default expands only
//! copies, and calls a byte-wise loop for every fill.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=--disable-expand-memcpy-in-order");
}
