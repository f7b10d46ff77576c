//! The topology as its users see it: text in, a plan or diagnostics out, with scripted connectors and plugins.

mod any_text;
mod drawing;
mod golden;
mod pages;
mod projection;
mod signatures;
mod support;
