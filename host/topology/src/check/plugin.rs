//! Plugins: found, told apart, and asked what they are.

use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::plugin::{PluginError, PluginRef, World};

use super::Checker;
use crate::codes;
use crate::place::{At as _, Place};
use crate::reader::not_built;
use crate::spec::Plugin;

impl Checker<'_> {
    /// The plugin's file, if it is of this world.
    pub(super) fn load(&self, plugin: &Plugin, expected: World) -> Option<PluginRef> {
        self.load_any(plugin, &[expected]).map(|(found, _)| found)
    }

    /// The plugin's file and its world, if that is one of these.
    pub(super) fn load_any(&self, plugin: &Plugin, expected: &[World]) -> Option<(PluginRef, World)> {
        let path = self.folder.resolve(&plugin.path);
        let (found, world) = match self.world.describer.load(&path) {
            Ok(found) => found,
            Err(error) => {
                self.refused(plugin, &error, None);
                return None;
            }
        };
        if let Some((digest, word)) = &plugin.digest
            && *digest != found.digest
        {
            self.problems().push(
                Diagnostic::error(codes::DIGEST, "the plugin's file is not the one that was meant")
                    .at(&word.place, "this digest was expected")
                    .at(
                        &plugin.word.place,
                        format!("the file has sha256:{}", hex(&found.digest)),
                    )
                    .help("put the right file there, or write its digest"),
            );
            return None;
        }
        if !expected.contains(&world) {
            self.wrong_world(plugin, world, expected[0]);
            return None;
        }
        Some((found, world))
    }

    fn wrong_world(&self, plugin: &Plugin, world: World, expected: World) {
        let place = &plugin.word.place;
        let help = match world {
            World::Aggregate => {
                "aggregates stand in a window: `type = \"window\"`, `aggregate = { x = { plugin = \"...\" } }`"
            }
            World::Window => {
                "plugins of this world stand beside a window: `type = \"window\"`, `window = { ... }`, `plugin = \"...\"`"
            }
            World::Transform => "transforms stand in an operator of their own: `[[operator]]`, `plugin = \"...\"`",
            World::Keyed => {
                "keyed operators stand in an operator of their own: `[[operator]]`, `plugin = \"...\"`, `key = [...]`"
            }
        };
        self.problems().push(
            Diagnostic::error(
                codes::WRONG_WORLD,
                format!("this plugin is of the world `{}`", world.name()),
            )
            .at(place, format!("one of the world `{}` is needed here", expected.name()))
            .help(help),
        );
    }

    fn world_to_come(&self, plugin: &Plugin, world: &str) {
        let what = format!("a plugin of the world `{world}`");
        let help = "`wasmill inspect` shows which world a file is of";
        self.problems().push(not_built(&what, &plugin.word.place, help));
    }

    /// Reports what became of the question to a plugin. `input`: what it was asked about.
    pub(super) fn refused(&self, plugin: &Plugin, error: &PluginError, input: Option<(&Place, String)>) {
        if let PluginError::NotServed { world, .. } = error {
            self.world_to_come(plugin, world);
            return;
        }
        let shown = plugin.path.display();
        let (code, message, help) = match error {
            PluginError::Unreadable { path, reason } => (
                codes::PLUGIN_FILE,
                format!("the plugin {shown} cannot be read: {reason}"),
                format!(
                    "it was looked for at {}; `wasmill build` makes a plugin of its sources",
                    path.display()
                ),
            ),
            PluginError::NotAPlugin { reason, .. } => (
                codes::NOT_A_PLUGIN,
                format!("{shown} is not a Wasmill plugin: {reason}"),
                "`wasmill build` makes a plugin of its sources; `wasmill inspect` shows what a file holds".to_owned(),
            ),
            PluginError::ForbiddenImport { import, .. } => (
                codes::FORBIDDEN_IMPORT,
                format!("{shown} imports {import}, which plugins are not given"),
                "build it without what uses that: plugins have no files, sockets, clock or randomness".to_owned(),
            ),
            PluginError::NotServed { .. } => unreachable!("it was told apart above"),
            PluginError::Refused { message } => (
                codes::PLUGIN_REFUSED,
                format!("the plugin {shown} refuses: {message}"),
                "change its `config`, or give it an input with the columns that it needs".to_owned(),
            ),
            PluginError::Faulty { message } => (
                codes::PLUGIN_FAULTY,
                format!("the plugin {shown} is faulty: {message}"),
                "this is for the plugin's author to mend".to_owned(),
            ),
        };
        let mut diagnostic = Diagnostic::error(code, message).at(&plugin.word.place, "");
        if matches!(error, PluginError::Refused { .. }) {
            if let Some((place, columns)) = input {
                diagnostic = diagnostic.at(place, columns);
            }
            if let Some(config) = &plugin.config_table {
                diagnostic = diagnostic.at(&config.place, "this is its configuration");
            }
        }
        self.problems().push(diagnostic.help(help));
    }
}

fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
