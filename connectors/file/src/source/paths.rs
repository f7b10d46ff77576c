//! What is wrong with the paths of a source, and what stands where a file should be.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use wasmill_connector_api::config::{ConfigProblem, Folder, Step};
use wasmill_core::fault::Fault;

use crate::client::{Pattern, find};
use crate::config::SourceConfig;
use crate::error::reason;

/// Whether the paths can never be those of several files.
pub(super) fn is_one_file(paths: &[String], folder: &Folder) -> bool {
    matches!(paths, [path] if matches!(Pattern::new(folder, path), Ok(Pattern::Literal(_))))
}

pub(super) fn path_problems(config: &SourceConfig, folder: &Folder) -> Vec<ConfigProblem> {
    let paths = &config.path.0;
    if paths.is_empty() {
        return vec![ConfigProblem::at("path", "the list is empty").help("path = \"input/*.csv\"")];
    }
    let problems = paths.iter().enumerate().filter_map(|(index, text)| {
        let mut problem = path_problem(config, folder, text)?;
        if paths.len() > 1 {
            problem.path.push(Step::Index(index));
        }
        Some(problem)
    });
    problems.collect()
}

fn path_problem(config: &SourceConfig, folder: &Folder, text: &str) -> Option<ConfigProblem> {
    let problem = |message: String| ConfigProblem::at("path", message);
    if text.is_empty() {
        return Some(problem("the path is empty".to_owned()));
    }
    match Pattern::new(folder, text) {
        Err(error) => Some(problem(format!("\"{text}\" is not a pattern: {}", error.msg))),
        Ok(Pattern::Literal(path)) => match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                let all = text.trim_end_matches('/');
                Some(problem(format!("\"{text}\" is a folder")).help(format!("for the files in it: \"{all}/*\"")))
            }
            Err(error) if error.kind() == ErrorKind::NotFound && config.follow => None,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Some(problem(format!("there is no file \"{text}\"")).help(missing_help(folder, &path)))
            }
            Err(error) => Some(problem(format!("cannot look at \"{text}\": {}", reason(&error)))),
            Ok(metadata) if !metadata.is_file() => Some(
                problem(format!("\"{text}\" is not a regular file"))
                    .help("a pipe or a device cannot be read again from a position; write what it gives into a file"),
            ),
            Ok(_) => None,
        },
        Ok(Pattern::Glob(_)) if config.follow => None,
        Ok(Pattern::Glob(_)) => match find(folder, &[text.to_owned()]) {
            Ok(found) if found.is_empty() => {
                let path = folder.resolve(text);
                Some(problem(format!("no file matches \"{text}\"")).help(missing_help(folder, &path)))
            }
            Ok(_) => None,
            Err(error) => Some(problem(Fault::from(error).message)),
        },
    }
}

/// What stands where the file should be.
fn missing_help(folder: &Folder, path: &Path) -> String {
    const SHOWN_MAX: usize = 5;
    let parent = path.parent().unwrap_or(folder.path());
    let Ok(entries) = fs::read_dir(parent) else {
        return format!("the folder {} is not there", parent.display());
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort_unstable();
    if names.is_empty() {
        return format!("the folder {} is empty", parent.display());
    }
    let more = names.len().saturating_sub(SHOWN_MAX);
    names.truncate(SHOWN_MAX);
    let tail = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("the folder {} has {}{tail}", parent.display(), names.join(", "))
}
