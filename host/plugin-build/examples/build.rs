//! Builds the plugin in a folder, and says what is done.
use std::path::Path;
fn main() {
    let settings = wasmill_plugin_build::Settings::discover().unwrap();
    for path in std::env::args().skip(1) {
        let a = wasmill_plugin_build::build(Path::new(&path), &settings, &mut |s| eprintln!("{s}"));
        match a { Ok(a) => println!("{a:?}"), Err(e) => println!("ERR {e}") }
    }
}
