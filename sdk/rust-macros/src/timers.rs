//! `#[derive(Timers)]`.

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, Variant, ext::IdentExt, spanned::Spanned};

pub(crate) fn timers(item: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &item.data else {
        return Err(Error::new(
            item.ident.span(),
            "`Timers` can only be derived for an enum: each variant is a kind of timer",
        ));
    };
    if let Some(parameter) = item.generics.params.first() {
        return Err(Error::new(parameter.span(), "`Timers` cannot be generic"));
    }
    let kinds: Vec<Kind<'_>> = data.variants.iter().map(Kind::read).collect::<Result<_>>()?;
    if kinds.is_empty() {
        return Err(Error::new(
            item.ident.span(),
            "there is no kind of timer in it: an operator without timers has `NoTimers`",
        ));
    }
    let mut seen = BTreeMap::new();
    for kind in &kinds {
        if let Some(first) = seen.insert(kind.name.value(), &kind.variant.ident) {
            let message = format!(
                "two kinds of timers have the name `{}`: `{first}` and `{}`",
                kind.name.value(),
                kind.variant.ident
            );
            return Err(Error::new(kind.name.span(), message));
        }
    }
    let (sdk, name) = (quote!(::wasmill_sdk), &item.ident);
    let specs = kinds
        .iter()
        .map(|Kind { name, event, .. }| quote!(#sdk::TimerSpec { name: #name, event: #event }));
    let ids = kinds.iter().zip(0_u32..).map(|(kind, number)| {
        let variant = &kind.variant.ident;
        if kind.tagged {
            quote!(Self::#variant(tag) => (#number, *tag))
        } else {
            quote!(Self::#variant => (#number, 0))
        }
    });
    let made = kinds.iter().zip(0_u32..).map(|(kind, number)| {
        let variant = &kind.variant.ident;
        if kind.tagged {
            quote!(#number => ::std::option::Option::Some(Self::#variant(tag)))
        } else {
            quote!(#number => ::std::option::Option::Some(Self::#variant))
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl #sdk::Timers for #name {
            const KINDS: &'static [#sdk::TimerSpec] = &[#(#specs),*];

            #[inline]
            fn id(&self) -> (u32, i64) {
                match self { #(#ids),* }
            }

            #[inline]
            fn from_id(kind: u32, tag: i64) -> ::std::option::Option<Self> {
                let _ = tag;
                match kind {
                    #(#made,)*
                    _ => ::std::option::Option::None,
                }
            }
        }
    })
}

struct Kind<'a> {
    variant: &'a Variant,
    name: LitStr,
    event: bool,
    tagged: bool,
}

impl<'a> Kind<'a> {
    fn read(variant: &'a Variant) -> Result<Self> {
        let tagged = match &variant.fields {
            Fields::Unit => false,
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 && is_i64(&fields.unnamed[0].ty) => true,
            fields => {
                return Err(Error::new(
                    fields.span(),
                    "a kind of timer holds nothing, or one `i64` by which its timers are told apart: what else is to be \
                     remembered is state",
                ));
            }
        };
        let mut name = LitStr::new(&kebab(&variant.ident.unraw().to_string()), variant.ident.span());
        let mut event = true;
        for attribute in variant
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("timer"))
        {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    name = meta.value()?.parse()?;
                    if name.value().is_empty() {
                        return Err(Error::new(name.span(), "a timer needs a name"));
                    }
                } else if meta.path.is_ident("processing") {
                    event = false;
                } else {
                    return Err(meta.error("unknown option: expected `processing` or `name`"));
                }
                Ok(())
            })?;
        }
        Ok(Self {
            variant,
            name,
            event,
            tagged,
        })
    }
}

fn is_i64(ty: &syn::Type) -> bool {
    matches!(ty, syn::Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "i64"))
}

/// `LateAlarm` as `late-alarm`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(letter.to_lowercase());
    }
    kebab
}
