//! Guests for the tests: core modules written in WAT, made into components here, so that no wasm toolchain is needed.
//!
//! What a guest returns is laid out by hand in its memory, by the canonical ABI: an [`Image`] holds the bytes, the
//! module's functions return addresses in it. So a test can return anything, also what no language's bindings would.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = include_str!("../../../../wit/operator.wit");
/// Where an image begins.
const IMAGE_AT: u32 = 1024;

/// Bytes in a guest's memory, at known addresses.
pub(crate) struct Image {
    bytes: Vec<u8>,
}

/// A record or variant as bytes, not yet placed.
pub(crate) type Bytes = Vec<u8>;

/// A field of a schema, as a guest describes it.
pub(crate) type FieldText<'a> = (&'a str, &'a str, bool);

impl Image {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Places bytes; gives their address.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = IMAGE_AT + self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        at
    }

    /// A list of elements that take `bytes` together.
    pub(crate) fn list(&mut self, len: usize, bytes: &[u8]) -> Bytes {
        let at = self.put(bytes);
        words(&[at, len as u32])
    }

    pub(crate) fn buffer(&mut self, bytes: &[u8]) -> Bytes {
        self.list(bytes.len(), bytes)
    }

    pub(crate) fn records(&mut self, records: &[Bytes]) -> Bytes {
        self.list(records.len(), &records.concat())
    }

    pub(crate) fn text(&mut self, text: &str) -> Bytes {
        self.buffer(text.as_bytes())
    }

    pub(crate) fn column(&mut self, validity: Option<&[u8]>, offsets: &[u32], data: &[u8]) -> Bytes {
        let validity = match validity {
            None => words(&[0, 0, 0]),
            Some(bits) => [words(&[1]), self.buffer(bits)].concat(),
        };
        let offsets = self.buffer(&words(offsets));
        [validity, offsets, self.buffer(data)].concat()
    }

    pub(crate) fn int64s(&mut self, values: &[i64]) -> Bytes {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.column(None, &[], &data)
    }

    /// An `output`; `rows`: `None` for all.
    pub(crate) fn output(&mut self, port: u32, rows: Option<&[u32]>, columns: &[Bytes]) -> Bytes {
        let rows = match rows {
            None => words(&[0, 0, 0]),
            Some(rows) => [words(&[1]), self.buffer(&words(rows))].concat(),
        };
        [words(&[port]), rows, words(&[0, 0]), self.records(columns)].concat()
    }

    pub(crate) fn reject(&mut self, row: u32, message: &str) -> Bytes {
        [words(&[row]), self.text(message)].concat()
    }

    /// `ok(outputs)`.
    pub(crate) fn outputs(&mut self, outputs: &[Bytes], rejects: &[Bytes]) -> u32 {
        let answer = [words(&[0]), self.records(outputs), self.records(rejects)].concat();
        self.put(&answer)
    }

    /// `err(failure)` of a result whose values begin after `align` bytes.
    pub(crate) fn failure(&mut self, align: usize, message: &str, row: Option<u32>) -> u32 {
        let mut answer = words(&[1]);
        answer.resize(align, 0);
        answer.extend(self.text(message));
        answer.extend(words(&[u32::from(row.is_some()), row.unwrap_or_default()]));
        answer.resize(64, 0);
        self.put(&answer)
    }

    /// `ok` without a value.
    pub(crate) fn done(&mut self) -> u32 {
        self.put(&[0; 32])
    }

    pub(crate) fn field(&mut self, (name, data_type, nullable): FieldText<'_>) -> Bytes {
        [self.text(name), self.text(data_type), words(&[u32::from(nullable)])].concat()
    }

    pub(crate) fn requirement(&mut self, columns: &[&str], event_times: bool) -> Bytes {
        let names: Vec<Bytes> = columns.iter().map(|name| self.text(name)).collect();
        [self.records(&names), words(&[u32::from(event_times)])].concat()
    }

    pub(crate) fn port(&mut self, name: &str, fields: &[FieldText<'_>], changelog: bool) -> Bytes {
        let fields: Vec<Bytes> = fields.iter().map(|&field| self.field(field)).collect();
        [self.text(name), self.records(&fields), words(&[u32::from(changelog)])].concat()
    }

    /// `ok(description)` of a transform.
    pub(crate) fn description(&mut self, inputs: &[Bytes], ports: &[Bytes], retime: Option<(&str, u64)>) -> u32 {
        let retime = match retime {
            None => vec![0; 24],
            Some((column, lag)) => [words(&[1, 0]), self.text(column), lag.to_le_bytes().to_vec()].concat(),
        };
        let answer = [words(&[0, 0]), self.records(inputs), self.records(ports), retime].concat();
        self.put(&answer)
    }
}

/// `input(i)`.
pub(crate) fn input(index: u32) -> Bytes {
    let mut bytes = words(&[0, index]);
    bytes.resize(32, 0);
    bytes
}

/// `computed(column)`.
pub(crate) fn computed(column: Bytes) -> Bytes {
    [words(&[1]), column].concat()
}

pub(crate) fn words(words: &[u32]) -> Bytes {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A core module, to be made into a component.
pub(crate) struct Guest {
    pub(crate) image: Image,
    world: &'static str,
    interface: &'static str,
    functions: String,
    imports: String,
}

impl Guest {
    pub(crate) fn new(world: &'static str, interface: &'static str) -> Self {
        Self {
            image: Image::new(),
            world,
            interface,
            functions: String::new(),
            imports: String::new(),
        }
    }

    /// A transform with one input, of which it needs `needs`, and one output `out` of `fields`.
    pub(crate) fn transform(needs: &[&str], fields: &[FieldText<'_>]) -> Self {
        let mut guest = Self::new("transform", "transformer");
        let inputs = [guest.image.requirement(needs, false)];
        let ports = [guest.image.port("out", fields, false)];
        let description = guest.image.description(&inputs, &ports, None);
        guest.function("describe", 4, &constant(description));
        let done = guest.image.done();
        guest.function("open", 4, &constant(done));
        guest
    }

    /// A function of the exported interface: WAT that leaves the address of its answer. Parameters are `$0`, `$1`...
    pub(crate) fn function(&mut self, name: &str, params: usize, body: &str) -> &mut Self {
        let interface = self.interface;
        let mut list = String::new();
        for i in 0..params {
            write!(list, "(param ${i} i32) ").unwrap();
        }
        writeln!(
            self.functions,
            "(func (export \"wasmill:operator/{interface}@0.1.0#{name}\") {list}(result i32) (local $i i32)\n{body})
             (func (export \"cabi_post_wasmill:operator/{interface}@0.1.0#{name}\") (param i32)
               (global.set $free (global.get $opened)))"
        )
        .unwrap();
        self
    }

    /// `process` of a transform: rows are `$1`, the columns' address is `$6`.
    pub(crate) fn process(&mut self, body: &str) -> &mut Self {
        self.function("process", 8, body)
    }

    pub(crate) fn import(&mut self, wat: &str) -> &mut Self {
        self.imports.push_str(wat);
        self
    }

    /// `$log(level, text)` as an import, and the WAT to call it.
    pub(crate) fn log(&mut self, level: u32, text: &str) -> String {
        if !self.imports.contains("$log") {
            self.import("(import \"wasmill:operator/log@0.1.0\" \"write\" (func $log (param i32 i32 i32 i32 i32)))");
        }
        let at = self.image.put(text.as_bytes());
        let len = text.len();
        format!("(call $log (i32.const {level}) (i32.const {at}) (i32.const {len}) (i32.const 0) (i32.const 0))")
    }

    /// WAT that answers with column `column` of the input, computed, for all rows.
    pub(crate) fn echo(&mut self, column: u32) -> String {
        let placeholder = vec![0; 28];
        let columns = self.image.put(&computed(placeholder));
        let output = [words(&[0, 0, 0, 0, 0, 0]), words(&[columns, 1])].concat();
        let answer = self.image.outputs(&[output], &[]);
        format!(
            "(memory.copy (i32.const {}) (i32.add (local.get $6) (i32.const {})) (i32.const 28)) (i32.const {answer})",
            columns + 4,
            column * 28
        )
    }

    /// The component.
    pub(crate) fn build(&self) -> Vec<u8> {
        self.build_with(&[WIT], self.world, "")
    }

    /// The component, of a world in the last of these packages, with a change of the module's text.
    pub(crate) fn build_with(&self, packages: &[&str], world: &str, more: &str) -> Vec<u8> {
        let mut image = String::new();
        for byte in &self.image.bytes {
            write!(image, "\\{byte:02x}").unwrap();
        }
        let free = (IMAGE_AT as usize + self.image.bytes.len()).next_multiple_of(16);
        let pages = free / 65536 + 2;
        let wat = format!(
            r#"(module
              {imports}
              (memory (export "memory") {pages})
              (data (i32.const {IMAGE_AT}) "{image}")
              (global $free (mut i32) (i32.const {free}))
              (global $opened (mut i32) (i32.const {free}))
              (func $realloc (export "cabi_realloc") (param $old i32) (param $was i32) (param $align i32) (param $len i32)
                (result i32) (local $at i32) (local $missing i32)
                (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                (global.set $free (i32.add (local.get $at) (local.get $len)))
                (local.set $missing (i32.sub (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
                (if (i32.gt_s (local.get $missing) (i32.const 0))
                  (then (drop (memory.grow (i32.div_u (i32.add (local.get $missing) (i32.const 65535)) (i32.const 65536))))))
                (local.get $at))
              {functions}
              {more})"#,
            imports = self.imports,
            functions = self.functions,
        );
        let module = wat::parse_str(&wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
        component(module, packages, world)
    }
}

/// A component of a module that has the world's functions.
fn component(mut module: Vec<u8>, packages: &[&str], world: &str) -> Vec<u8> {
    let (resolve, world) = resolved(packages, world);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}

fn resolved(packages: &[&str], world: &str) -> (Resolve, wit_parser::WorldId) {
    let mut resolve = Resolve::default();
    let mut last = None;
    for (i, package) in packages.iter().enumerate() {
        last = Some(resolve.push_str(format!("{i}.wit"), package).unwrap());
    }
    let world = resolve.select_world(last.as_slice(), Some(world)).unwrap();
    (resolve, world)
}

/// A component of a world of another version of the contract, or of one that is not served, all of whose functions trap.
pub(crate) fn hollow(version: &str, world: &str) -> Vec<u8> {
    let package = WIT.replace("operator@0.1.0;", &format!("operator@{version};"));
    let (resolve, id) = resolved(&[&package], world);
    let abi = wit_parser::ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync);
    component(wit_component::dummy_module(&resolve, id, abi), &[&package], world)
}

/// The contract's package, to build on.
pub(crate) fn contract() -> &'static str {
    WIT
}

pub(crate) fn constant(address: u32) -> String {
    format!("(i32.const {address})")
}
