//! `#[transform]`, `#[aggregate]`, `#[keyed]` and `#[window]`: a struct becomes an operator.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, LitInt, Result, meta::ParseNestedMeta, parse::Parser, spanned::Spanned,
};

pub(crate) fn transform(arguments: TokenStream, item: &DeriveInput) -> Result<TokenStream> {
    let mut columns = false;
    arguments_of(arguments, "`columns`", |meta| {
        let known = meta.path.is_ident("columns");
        columns |= known;
        Ok(known)
    })?;
    let configured = configured(item, "transform")?;
    let (sdk, name) = (quote!(::wasmill_sdk), &item.ident);
    let (author, reader, process) = if columns {
        (
            quote!(#sdk::TransformColumns),
            quote!(process_columns),
            quote!(Input<'static>),
        )
    } else {
        (quote!(#sdk::Transform), quote!(process_rows), quote!(Input<'static>))
    };
    Ok(quote! {
        #configured

        #[automatically_derived]
        impl #sdk::__private::transform::TransformOperator for #name {
            const COLUMNS: &'static [#sdk::ColumnSpec] = <<Self as #author>::#process as #sdk::Requires>::COLUMNS;
            const EVENT_TIMES: bool = <<Self as #author>::#process as #sdk::Requires>::EVENT_TIMES;
            const PORTS: &'static [#sdk::__private::port::PortSpec] =
                <<Self as #author>::Output as #sdk::Outputs>::PORTS;

            fn check(&self) -> ::std::result::Result<(), #sdk::Failure> {
                <Self as #author>::check(self)
            }

            fn open(&mut self) -> ::std::result::Result<(), #sdk::Failure> {
                <Self as #author>::open(self)
            }

            fn event_time(&self) -> ::std::option::Option<#sdk::Retime> {
                <Self as #author>::event_time(self)
            }

            fn process(
                &self,
                batch: &#sdk::RawBatch,
            ) -> ::std::result::Result<
                (::std::vec::Vec<#sdk::__private::port::PortRows>, #sdk::Rejects),
                #sdk::Failure,
            > {
                #sdk::__private::transform::#reader(self, batch)
            }
        }

        #sdk::__export_transform!(#name);
    })
}

pub(crate) fn aggregate(arguments: TokenStream, item: &DeriveInput) -> Result<TokenStream> {
    let mut commutative = false;
    let mut version = 1_u32;
    arguments_of(arguments, "`commutative` or `version = N`", |meta| {
        if meta.path.is_ident("version") {
            version = meta.value()?.parse::<LitInt>()?.base10_parse()?;
            return Ok(true);
        }
        let known = meta.path.is_ident("commutative");
        commutative |= known;
        Ok(known)
    })?;
    let configured = configured(item, "aggregate")?;
    let (sdk, name) = (quote!(::wasmill_sdk), &item.ident);
    Ok(quote! {
        #configured

        #[automatically_derived]
        impl #sdk::__private::aggregate::AggregateOperator for #name {
            const COMMUTATIVE: bool = #commutative;
            const VERSION: u32 = #version;
        }

        #sdk::__export_aggregate!(#name);
    })
}

pub(crate) fn keyed(arguments: TokenStream, item: &DeriveInput) -> Result<TokenStream> {
    let mut changelog = false;
    arguments_of(arguments, "`changelog`", |meta| {
        let known = meta.path.is_ident("changelog");
        changelog |= known;
        Ok(known)
    })?;
    let configured = configured(item, "keyed")?;
    let (sdk, name) = (quote!(::wasmill_sdk), &item.ident);
    Ok(quote! {
        #configured

        #[automatically_derived]
        impl #sdk::__private::keyed::KeyedOperator for #name {
            const CHANGELOG: bool = #changelog;
        }

        #sdk::__export_keyed!(#name);
    })
}

pub(crate) fn window(arguments: TokenStream, item: &DeriveInput) -> Result<TokenStream> {
    let mut parts = false;
    arguments_of(arguments, "`parts`", |meta| {
        let known = meta.path.is_ident("parts");
        parts |= known;
        Ok(known)
    })?;
    let configured = configured(item, "window")?;
    let (sdk, name) = (quote!(::wasmill_sdk), &item.ident);
    let (author, run) = if parts {
        (quote!(#sdk::WindowedParts), quote!(run_parts))
    } else {
        (quote!(#sdk::Windowed), quote!(run_whole))
    };
    Ok(quote! {
        #configured

        #[automatically_derived]
        impl #sdk::__private::window::WindowOperator for #name {
            const COLUMNS: &'static [#sdk::ColumnSpec] = <<Self as #author>::Input<'static> as #sdk::Requires>::COLUMNS;
            const EVENT_TIMES: bool = <<Self as #author>::Input<'static> as #sdk::Requires>::EVENT_TIMES;
            const PORTS: &'static [#sdk::__private::port::PortSpec] =
                <<Self as #author>::Output as #sdk::Outputs>::PORTS;

            fn key(
                key: &#sdk::__private::output::Schema,
            ) -> ::std::result::Result<::std::vec::Vec<usize>, #sdk::Failure> {
                <<Self as #author>::Key<'static> as #sdk::Key<'static>>::columns(key)
            }

            fn check(&self) -> ::std::result::Result<(), #sdk::Failure> {
                <Self as #author>::check(self)
            }

            fn open(&mut self) -> ::std::result::Result<(), #sdk::Failure> {
                <Self as #author>::open(self)
            }

            fn run(
                &self,
                call: &#sdk::__private::window::Call,
            ) -> ::std::result::Result<#sdk::__private::window::Ran, #sdk::Failure> {
                #sdk::__private::window::#run(self, call)
            }
        }

        #sdk::__export_window!(#name);
    })
}

fn arguments_of(
    arguments: TokenStream,
    expected: &str,
    mut known: impl FnMut(&ParseNestedMeta<'_>) -> Result<bool>,
) -> Result<()> {
    let parser = syn::meta::parser(|meta| {
        if known(&meta)? {
            Ok(())
        } else {
            Err(meta.error(format!("unknown argument: expected {expected}")))
        }
    });
    parser.parse2(arguments)
}

/// The struct, with what makes it readable from a configuration.
fn configured(item: &DeriveInput, attribute: &str) -> Result<TokenStream> {
    let Data::Struct(data) = &item.data else {
        let message = format!("`#[{attribute}]` stands on a struct: its fields are the operator's configuration");
        return Err(Error::new(item.ident.span(), message));
    };
    if let Some(parameter) = item.generics.params.first() {
        let message = format!("an operator with `#[{attribute}]` cannot be generic: a plugin has exactly one");
        return Err(Error::new(parameter.span(), message));
    }
    if let Some(derive) = item.attrs.iter().find(|attribute| derives_deserialize(attribute)) {
        let message = format!("`#[{attribute}]` derives `Deserialize` itself: remove it here");
        return Err(Error::new(derive.span(), message));
    }
    let name = &item.ident;
    match &data.fields {
        Fields::Named(_) => Ok(quote! {
            #[derive(::wasmill_sdk::__private::serde::Deserialize)]
            #[serde(crate = "::wasmill_sdk::__private::serde", deny_unknown_fields, rename_all = "kebab-case")]
            #item
        }),
        Fields::Unit => Ok(quote! {
            #item

            #[automatically_derived]
            impl<'de> ::wasmill_sdk::__private::serde::Deserialize<'de> for #name {
                fn deserialize<D: ::wasmill_sdk::__private::serde::Deserializer<'de>>(
                    deserializer: D,
                ) -> ::std::result::Result<Self, D::Error> {
                    ::wasmill_sdk::__private::config::none(deserializer).map(|()| Self)
                }
            }
        }),
        Fields::Unnamed(fields) => Err(Error::new(
            fields.span(),
            "an operator's fields need names: they are those of its configuration",
        )),
    }
}

fn derives_deserialize(attribute: &Attribute) -> bool {
    let mut found = false;
    if attribute.path().is_ident("derive") {
        // What does not parse is rustc's to report.
        let _ = attribute.parse_nested_meta(|meta| {
            found |= meta
                .path
                .segments
                .last()
                .is_some_and(|segment| segment.ident == "Deserialize");
            Ok(())
        });
    }
    found
}
