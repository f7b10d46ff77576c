//! `#[derive(State)]` and `#[derive(Tables)]`.

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, Ident, LitInt, LitStr, Result, Type, ext::IdentExt, spanned::Spanned,
};

use crate::{
    fields::{self, Rules},
    output,
};

pub(crate) fn row(item: &DeriveInput) -> Result<TokenStream> {
    let rules = Rules {
        derive: "State",
        attribute: "column",
        event_time: false,
        rename: str::to_owned,
        lifetimes_max: 0,
    };
    let fields = fields::read(item, &rules)?;
    if fields.is_empty() {
        return Err(Error::new(
            item.ident.span(),
            "a row of state needs at least one field: what keeps nothing is `()`",
        ));
    }
    let options = Options::read(&item.attrs, "state")?.tokens();
    let sdk = quote!(::wasmill_sdk);
    let name = &item.ident;
    let specs = output::specs(&fields, &quote!(#sdk::OutputValue));
    let each = |write: &dyn Fn(&Ident, &Type, syn::Index) -> TokenStream| -> Vec<TokenStream> {
        let tokens = |(at, field): (usize, &fields::Field)| write(&field.ident, &field.ty, syn::Index::from(at));
        fields.iter().enumerate().map(tokens).collect()
    };
    let kept = quote!(#sdk::KeptValue);
    let views = each(&|_, ty, _| quote_spanned!(ty.span()=> #sdk::__private::kept::ReadView<'batch, #ty>));
    let builders = each(&|_, ty, _| quote_spanned!(ty.span()=> <#ty as #sdk::OutputValue>::Builder));
    let opened = each(&|_, ty, at| quote_spanned!(ty.span()=> #sdk::RawBatch::view(batch, at + #at)?));
    let loaded = each(
        &|ident, ty, at| quote_spanned!(ty.span()=> <#ty as #kept>::reload(&mut self.#ident, #sdk::View::get(&views.#at, row));),
    );
    let differs = each(&|ident, ty, at| {
        quote_spanned! {ty.span()=>
            columns |= ::std::primitive::u64::from(!<#ty as #kept>::is(&self.#ident, #sdk::View::get(&views.#at, row)))
                << #sdk::__private::kept::bit_of(#at);
        }
    });
    let same = each(&|ident, ty, _| quote_spanned!(ty.span()=> <#ty as #kept>::same(&self.#ident, &other.#ident)));
    let store =
        each(&|ident, ty, at| quote_spanned!(ty.span()=> <#ty as #kept>::store(&self.#ident, &mut builders.#at);));
    let reserve = each(&|_, _, at| quote!(#sdk::__private::kept::reserve(&mut builders.#at, &views.#at, rows);));
    let finish = each(&|_, _, at| quote!(#sdk::__private::output::Builder::finish(builders.#at)));
    let scalars = each(&|ident, ty, _| quote_spanned!(ty.span()=> <#ty as #kept>::scalar(&self.#ident)));
    Ok(quote! {
        #[automatically_derived]
        impl #sdk::StateRow for #name {
            const COLUMNS: &'static [#sdk::ColumnSpec] = &[#(#specs),*];
            const NAMED: bool = true;
            const OPTIONS: #sdk::TableOptions = #options;
            type Views<'batch> = (#(#views,)*);
            type Builders = (#(#builders,)*);

            fn views(
                batch: &#sdk::RawBatch,
                at: usize,
            ) -> ::std::result::Result<Self::Views<'_>, #sdk::Failure> {
                ::std::result::Result::Ok((#(#opened,)*))
            }

            #[inline]
            fn load(&mut self, views: &Self::Views<'_>, row: usize) {
                #(#loaded)*
            }

            #[inline]
            fn differs(&self, views: &Self::Views<'_>, row: usize) -> u64 {
                let mut columns = 0;
                #(#differs)*
                columns
            }

            #[inline]
            fn same(&self, other: &Self) -> bool {
                #(#same)&&*
            }

            #[inline]
            fn store(&self, builders: &mut Self::Builders) {
                #(#store)*
            }

            fn reserve(builders: &mut Self::Builders, views: &Self::Views<'_>, rows: usize) {
                #(#reserve)*
            }

            fn finish(builders: Self::Builders) -> ::std::vec::Vec<#sdk::__private::output::Column> {
                ::std::vec![#(#finish),*]
            }

            fn scalars(&self) -> ::std::vec::Vec<#sdk::__private::output::Scalar> {
                ::std::vec![#(#scalars),*]
            }
        }
    })
}

pub(crate) fn tables(item: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &item.data else {
        return Err(Error::new(
            item.ident.span(),
            "`Tables` can only be derived for a struct",
        ));
    };
    let Fields::Named(named) = &data.fields else {
        return Err(Error::new(
            item.ident.span(),
            "`Tables` needs fields with names: they are the names of the tables",
        ));
    };
    if let Some(parameter) = item.generics.params.first() {
        return Err(Error::new(
            parameter.span(),
            "`Tables` cannot be generic: the types of its fields decide what is kept",
        ));
    }
    let mut tables: Vec<(&Ident, &Type, LitStr, Options)> = Vec::new();
    let mut seen = BTreeMap::new();
    for field in &named.named {
        let ident = field.ident.as_ref().expect("the fields are named");
        let options = Options::read(&field.attrs, "table")?;
        let name = options
            .name
            .clone()
            .unwrap_or_else(|| LitStr::new(&ident.unraw().to_string().replace('_', "-"), ident.span()));
        if let Some(first) = seen.insert(name.value(), ident) {
            let message = format!(
                "two tables have the name `{}`: fields `{first}` and `{ident}`",
                name.value()
            );
            return Err(Error::new(name.span(), message));
        }
        tables.push((ident, &field.ty, name, options));
    }
    if tables.is_empty() {
        return Err(Error::new(
            item.ident.span(),
            "a set of tables needs at least one: a state that keeps nothing is `()`",
        ));
    }
    let (sdk, name) = (quote!(::wasmill_sdk), &item.ident);
    let table = quote!(#sdk::StateTable);
    let loaded = tables
        .iter()
        .map(|(_, ty, ..)| quote_spanned!(ty.span()=> <#ty as #table>::Loaded<'batch>));
    let described = tables.iter().map(|(_, ty, name, options)| {
        let options = options.tokens();
        quote_spanned!(ty.span()=> tables.push(<#ty as #table>::describe(#name).with(&#options));)
    });
    let numbered: Vec<_> = tables
        .iter()
        .enumerate()
        .map(|(number, (ident, ty, ..))| (number as u32, syn::Index::from(number), ident, ty))
        .collect();
    let created = numbered
        .iter()
        .map(|(number, _, ident, ty)| quote_spanned!(ty.span()=> #ident: <#ty as #table>::create(#number)));
    let begun = numbered
        .iter()
        .map(|(number, _, _, ty)| quote_spanned!(ty.span()=> <#ty as #table>::begin(#number, given)?));
    let entered = numbered.iter().map(
        |(_, at, ident, ty)| quote_spanned!(ty.span()=> <#ty as #table>::enter(&mut self.#ident, &loaded.#at, key);),
    );
    let left = numbered.iter().map(|(_, at, ident, ty)| {
        quote_spanned!(ty.span()=> <#ty as #table>::leave(&mut self.#ident, &mut loaded.#at, key);)
    });
    let ended = numbered.iter().map(
        |(_, at, ident, ty)| quote_spanned!(ty.span()=> <#ty as #table>::end(&mut self.#ident, loaded.#at, effects);),
    );
    Ok(quote! {
        #[automatically_derived]
        impl #sdk::State for #name {
            type Loaded<'batch> = (#(#loaded,)*);

            fn describe(tables: &mut ::std::vec::Vec<#sdk::__private::state::TableDescription>) {
                #(#described)*
            }

            fn create() -> Self {
                Self { #(#created),* }
            }

            fn begin<'batch>(
                given: &mut #sdk::__private::state::Given<'batch>,
            ) -> ::std::result::Result<Self::Loaded<'batch>, #sdk::Failure> {
                ::std::result::Result::Ok((#(#begun,)*))
            }

            #[inline]
            fn enter(&mut self, loaded: &Self::Loaded<'_>, key: u32) {
                #(#entered)*
            }

            #[inline]
            fn leave(&mut self, loaded: &mut Self::Loaded<'_>, key: u32) {
                #(#left)*
            }

            fn end(&mut self, loaded: Self::Loaded<'_>, effects: &mut #sdk::__private::state::Effects) {
                #(#ended)*
            }
        }
    })
}

/// What is said of a table.
struct Options {
    name: Option<LitStr>,
    ttl: Option<TokenStream>,
    version: Option<u32>,
}

impl Options {
    fn read(attributes: &[Attribute], attribute: &str) -> Result<Self> {
        let mut options = Self {
            name: None,
            ttl: None,
            version: None,
        };
        for attribute in attributes.iter().filter(|found| found.path().is_ident(attribute)) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    let name: LitStr = meta.value()?.parse()?;
                    if name.value().is_empty() {
                        return Err(Error::new(name.span(), "a table needs a name"));
                    }
                    options.name = Some(name);
                } else if meta.path.is_ident("ttl") || meta.path.is_ident("processing_ttl") {
                    if options.ttl.is_some() {
                        return Err(meta.error("a table has one TTL: `ttl` or `processing_ttl`"));
                    }
                    let domain = if meta.path.is_ident("ttl") {
                        quote!(event)
                    } else {
                        quote!(processing)
                    };
                    let micros = micros(&meta.value()?.parse()?)?;
                    options.ttl = Some(quote! {
                        ::wasmill_sdk::Ttl::#domain(::std::time::Duration::from_micros(#micros))
                    });
                } else if meta.path.is_ident("version") {
                    options.version = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?);
                } else {
                    return Err(meta.error("unknown option: expected `name`, `ttl`, `processing_ttl` or `version`"));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }

    fn tokens(&self) -> TokenStream {
        fn option<T: quote::ToTokens>(value: Option<&T>) -> TokenStream {
            value.map_or_else(
                || quote!(::std::option::Option::None),
                |value| quote!(::std::option::Option::Some(#value)),
            )
        }
        let (name, ttl) = (option(self.name.as_ref()), option(self.ttl.as_ref()));
        let version = option(self.version.as_ref());
        quote!(::wasmill_sdk::TableOptions { name: #name, ttl: #ttl, version: #version })
    }
}

/// `"90s"`, `"1h"`: as a topology writes durations.
fn micros(text: &LitStr) -> Result<u64> {
    const UNITS: [(&str, u64); 6] = [
        ("us", 1),
        ("ms", 1_000),
        ("s", 1_000_000),
        ("m", 60_000_000),
        ("h", 3_600_000_000),
        ("d", 86_400_000_000),
    ];
    let value = text.value();
    let digits = value
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| *name == unit);
    let micros = unit.and_then(|(_, micros)| number.parse::<u64>().ok()?.checked_mul(*micros));
    micros.filter(|micros| *micros > 0).ok_or_else(|| {
        let message =
            "a TTL is a whole number above zero and a unit: `\"500ms\"`, `\"90s\"`, `\"10m\"`, `\"1h\"`, `\"7d\"`";
        Error::new(text.span(), message)
    })
}
