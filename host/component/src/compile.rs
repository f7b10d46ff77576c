//! Compiling: in this process, or in one of its own with low priority, so that the compilation of a large plugin
//! (JavaScript and Python take 10 to 20 s) takes no core from a topology that runs.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::engine::{Allocation, Metering, engine};

/// How long a process may compile: the largest plugins take 20 s on an idle core.
const COMPILE_TIME_MAX: Duration = Duration::from_mins(10);

/// Who compiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// This process. For tests and tools.
    InProcess,
    /// `program args METERING`, which calls [`compile_main`]. For the binary, `program` is itself and `args` name its
    /// hidden subcommand.
    Subprocess {
        /// The program.
        program: PathBuf,
        /// Its arguments, before the metering.
        args: Vec<OsString>,
    },
}

/// Why a component was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It is no valid component, or needs what the engine does not have.
    #[error("{0}")]
    Invalid(String),
    /// The compiler did not run.
    #[error("the compiler process failed: {0}")]
    Process(String),
}

impl Compiler {
    /// Compiles a component.
    ///
    /// # Errors
    /// It is not valid, or the compiler did not run.
    pub(crate) fn compile(&self, wasm: &[u8], metering: Metering) -> Result<Vec<u8>, CompileError> {
        match self {
            Self::InProcess => compile(wasm, metering),
            Self::Subprocess { program, args } => {
                let mut command = Command::new(program);
                command.args(args).arg(metering.name());
                in_subprocess(command, wasm, COMPILE_TIME_MAX)
            }
        }
    }
}

/// Compiles a component to what an engine with the same metering loads.
///
/// # Errors
/// It is no valid component.
pub fn compile(wasm: &[u8], metering: Metering) -> Result<Vec<u8>, CompileError> {
    let engine = engine(metering, Allocation::OnDemand).map_err(|error| CompileError::Process(error.to_string()))?;
    engine
        .precompile_component(wasm)
        .map_err(|error| CompileError::Invalid(format!("{error:#}")))
}

/// The body of the compiler process: reads a component from `input` to its end, and writes the compiled one to `output`.
/// Nothing else may be written there.
///
/// # Errors
/// The component is not valid, or the streams failed.
pub fn compile_main(metering: Metering, input: &mut dyn Read, output: &mut dyn Write) -> Result<(), CompileError> {
    /// As `nice -n 10`.
    const NICENESS: i32 = 10;
    let process = |error: io::Error| CompileError::Process(error.to_string());
    rustix::process::nice(NICENESS).map_err(|error| process(error.into()))?;
    let mut wasm = Vec::new();
    input.read_to_end(&mut wasm).map_err(process)?;
    let compiled = compile(&wasm, metering)?;
    output.write_all(&compiled).map_err(process)?;
    output.flush().map_err(process)
}

fn in_subprocess(mut command: Command, wasm: &[u8], time_max: Duration) -> Result<Vec<u8>, CompileError> {
    let process = |error: io::Error| CompileError::Process(error.to_string());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(process)?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    let mut stdout = child.stdout.take().expect("it was asked for");
    let mut stderr = child.stderr.take().expect("it was asked for");
    let thread = || std::thread::Builder::new().name("wasmill-compile".to_owned());
    // Each thread ends when its pipe does, at the latest when the process is killed.
    std::thread::scope(|scope| {
        let (ended, has_ended) = mpsc::channel::<()>();
        let stdout_ended = ended.clone();
        let started = || -> io::Result<_> {
            let sender = thread().spawn_scoped(scope, move || stdin.write_all(wasm))?;
            let output = thread().spawn_scoped(scope, move || {
                let _ended = stdout_ended;
                read(&mut stdout)
            })?;
            let said = thread().spawn_scoped(scope, move || {
                let _ended = ended;
                read(&mut stderr)
            })?;
            Ok((sender, output, said))
        };
        let threads = started();
        // Nothing is ever sent: what is waited for is that both readers are gone.
        let in_time = has_ended.recv_timeout(time_max) == Err(mpsc::RecvTimeoutError::Disconnected);
        if threads.is_err() || !in_time {
            child.kill().map_err(process)?;
        }
        let status = child.wait().map_err(process)?;
        let (sender, output, said) = threads.map_err(process)?;
        const NO_PANIC: &str = "reading and writing pipes does not panic";
        let sent = sender.join().expect(NO_PANIC);
        let (output, said) = (output.join().expect(NO_PANIC), said.join().expect(NO_PANIC));
        if !in_time {
            return Err(CompileError::Process(format!(
                "it took longer than {} s",
                time_max.as_secs_f32()
            )));
        }
        // A compiler that ended early says why on its standard error, which is worth more than the broken pipe.
        if status.success() {
            sent.map_err(process)?;
            return output.map_err(process);
        }
        let said = said.map_err(process)?;
        match String::from_utf8_lossy(&said).trim() {
            "" => Err(CompileError::Process(status.to_string())),
            said => Err(CompileError::Invalid(said.to_owned())),
        }
    })
}

fn read(pipe: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Compiler {
        Compiler::Subprocess {
            program: "sh".into(),
            args: ["-c", script].map(OsString::from).to_vec(),
        }
    }

    #[test]
    fn a_process_gets_the_component_and_the_metering_and_gives_the_compiled_one() {
        let compiler = shell("cat; printf %s \"$0\"");
        let large = vec![b'x'; 1 << 20];
        let compiled = compiler.compile(&large, Metering::Fuel).unwrap();
        assert_eq!(&compiled[large.len()..], b"fuel");
    }

    #[test]
    fn a_process_that_fails_says_why() {
        let failed = |script| shell(script).compile(b"x", Metering::Deadline).unwrap_err().to_string();
        assert_eq!(failed("cat >&2; echo ' is wrong' >&2; exit 1"), "x is wrong");
        assert_eq!(failed("exit 3"), "the compiler process failed: exit status: 3");
    }

    #[test]
    fn a_process_that_does_not_end_is_ended() {
        let mut command = Command::new("sh");
        // `exec`, so that nobody else holds the pipes when the process is killed.
        command.args(["-c", "exec tail -f /dev/null"]);
        let error = in_subprocess(command, b"x", Duration::from_millis(50)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the compiler process failed: it took longer than 0.05 s"
        );
    }

    #[test]
    fn what_is_no_component_is_not_compiled() {
        let error = compile(b"(module)", Metering::Deadline).unwrap_err();
        assert!(matches!(error, CompileError::Invalid(_)), "{error}");
    }
}
