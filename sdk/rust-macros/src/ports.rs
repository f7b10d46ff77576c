//! `#[derive(Outputs)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{DeriveInput, Error, Result, spanned::Spanned};

use crate::fields::{self, Rules};

/// Ports that every operator has.
const RESERVED: [&str; 2] = ["late", "dead-letter"];

pub(crate) fn outputs(item: &DeriveInput) -> Result<TokenStream> {
    let rules = Rules {
        derive: "Outputs",
        attribute: "port",
        event_time: false,
        rename: |field| field.replace('_', "-"),
        lifetimes_max: 0,
    };
    let fields = fields::read(item, &rules)?;
    if fields.is_empty() {
        return Err(Error::new(item.ident.span(), "an operator needs at least one port"));
    }
    for field in &fields {
        let name = field.name.value();
        if RESERVED.contains(&name.as_str()) {
            let message = format!("the port `{name}` is reserved: every operator has one, and the host writes it");
            return Err(Error::new(field.name.span(), message));
        }
        if !name
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
        {
            let message = "the name of a port has lower-case letters, digits and hyphens only";
            return Err(Error::new(field.name.span(), message));
        }
    }
    let sdk = quote!(::wasmill_sdk);
    let name = &item.ident;
    let idents: Vec<_> = fields.iter().map(|field| &field.ident).collect();
    let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
    let specs = fields.iter().map(|field| {
        let (ty, name) = (&field.ty, &field.name);
        quote_spanned! {ty.span()=>
            #sdk::__private::port::PortSpec {
                name: #name,
                passes: <#ty as #sdk::__private::port::AnyPort>::PASSES,
                columns: <#ty as #sdk::__private::port::AnyPort>::COLUMNS,
                changelog: <#ty as #sdk::__private::port::AnyPort>::CHANGELOG,
            }
        }
    });
    let starts = fields.iter().map(|field| {
        let (ident, ty) = (&field.ident, &field.ty);
        quote_spanned!(ty.span()=> #ident: <#ty as #sdk::__private::port::AnyPort>::start(rows))
    });
    Ok(quote! {
        #[automatically_derived]
        impl #sdk::Outputs for #name {
            const PORTS: &'static [#sdk::__private::port::PortSpec] = &[#(#specs),*];

            fn start(rows: usize) -> Self {
                Self { #(#starts),* }
            }

            #[inline]
            fn at(&mut self, row: u32) {
                #(#sdk::__private::port::AnyPort::at(&mut self.#idents, row);)*
            }

            fn finish(
                self,
                rows: usize,
            ) -> ::std::result::Result<::std::vec::Vec<#sdk::__private::port::PortRows>, #sdk::Failure> {
                ::std::result::Result::Ok(::std::vec![
                    #(#sdk::__private::port::AnyPort::finish(self.#idents, #names, rows)?),*
                ])
            }
        }
    })
}
