//! `#[derive(OutputRow)]`, `#[derive(OutputColumns)]` and `#[derive(Accumulator)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{DeriveInput, Error, Result, spanned::Spanned};

use crate::fields::{self, Field, Rules};

pub(crate) fn rows(item: &DeriveInput) -> Result<TokenStream> {
    let fields = read(item, "OutputRow", usize::MAX)?;
    let shape = builders(item, &fields);
    let push = push(&fields, &quote!(::wasmill_sdk::OutputValue));
    let (name, generics, statics) = (&item.ident, item.generics.split_for_impl(), statics(item));
    let (impl_generics, type_generics, clause) = generics;
    Ok(quote! {
        #shape
        #[automatically_derived]
        impl #impl_generics ::wasmill_sdk::OutputRow for #name #type_generics #clause {
            type Shape = #name #statics;

            #[inline]
            fn push(self, builders: &mut <Self::Shape as ::wasmill_sdk::Shape>::Builders) {
                let _ = &builders;
                #(#push)*
            }
        }
    })
}

pub(crate) fn columns(item: &DeriveInput) -> Result<TokenStream> {
    let fields = read(item, "OutputColumns", usize::MAX)?;
    let sdk = quote!(::wasmill_sdk);
    let specs = specs(&fields, &quote!(#sdk::ColumnData));
    let (name, generics, statics) = (&item.ident, item.generics.split_for_impl(), statics(item));
    let (impl_generics, type_generics, clause) = generics;
    let push = fields.iter().map(|field| {
        let ident = &field.ident;
        quote_spanned!(field.ty.span()=> columns.push(self.#ident);)
    });
    Ok(quote! {
        #[automatically_derived]
        impl #sdk::Shape for #name #statics {
            const COLUMNS: &'static [#sdk::ColumnSpec] = &[#(#specs),*];
            type Builders = #sdk::__private::output::WholeColumns;

            fn builders(_rows: usize) -> Self::Builders {
                ::std::default::Default::default()
            }

            fn finish(
                builders: Self::Builders,
                rows: usize,
            ) -> ::std::result::Result<::std::vec::Vec<#sdk::__private::output::Column>, (usize, usize)> {
                builders.finish(rows)
            }
        }

        #[automatically_derived]
        impl #impl_generics #sdk::OutputColumns for #name #type_generics #clause {
            type Shape = #name #statics;

            fn set(self, columns: &mut #sdk::__private::output::WholeColumns) {
                let _ = &columns;
                #(#push)*
            }
        }
    })
}

pub(crate) fn accumulator(item: &DeriveInput) -> Result<TokenStream> {
    let fields = read(item, "Accumulator", 0)?;
    if fields.is_empty() {
        return Err(Error::new(item.ident.span(), "an accumulator needs at least one field"));
    }
    let sdk = quote!(::wasmill_sdk);
    let shape = builders(item, &fields);
    let push = push(&fields, &quote!(#sdk::OutputValue));
    let name = &item.ident;
    let views = fields.iter().enumerate().map(|(at, field)| {
        let (ident, ty) = (&field.ident, &field.ty);
        quote_spanned! {ty.span()=>
            let #ident = #sdk::RawBatch::view::<#sdk::__private::kept::ReadView<'_, #ty>>(columns, #at)?;
        }
    });
    let read = fields.iter().map(|field| {
        let (ident, ty) = (&field.ident, &field.ty);
        quote_spanned!(ty.span()=> #ident: #sdk::__private::kept::read::<#ty>(&#ident, row))
    });
    let scalars = fields.iter().map(|field| {
        let (ident, ty) = (&field.ident, &field.ty);
        quote_spanned!(ty.span()=> <#ty as #sdk::KeptValue>::scalar(&self.#ident))
    });
    let uncountable = format!(
        "`{name}` holds only booleans, and eight of them share a byte: the number of groups cannot be told. Keep one of \
         them as an `i64`"
    );
    Ok(quote! {
        #shape
        const _: () = ::std::assert!(
            #sdk::__private::aggregate::countable(<#name as #sdk::Shape>::COLUMNS),
            #uncountable
        );

        #[automatically_derived]
        impl #sdk::Accumulator for #name {
            fn load(columns: &#sdk::RawBatch) -> ::std::result::Result<::std::vec::Vec<Self>, #sdk::Failure> {
                #(#views)*
                ::std::result::Result::Ok((0..columns.rows()).map(|row| Self { #(#read),* }).collect())
            }

            #[inline]
            fn store(self, builders: &mut <Self as #sdk::Shape>::Builders) {
                #(#push)*
            }

            fn scalars(self) -> ::std::vec::Vec<#sdk::__private::output::Scalar> {
                ::std::vec![#(#scalars),*]
            }
        }
    })
}

fn read(item: &DeriveInput, derive: &'static str, lifetimes_max: usize) -> Result<Vec<Field>> {
    let rules = Rules {
        derive,
        attribute: "column",
        event_time: false,
        rename: str::to_owned,
        lifetimes_max,
    };
    fields::read(item, &rules)
}

/// `<'static, ...>` for each lifetime of the struct.
fn statics(item: &DeriveInput) -> Option<TokenStream> {
    let lifetimes = fields::lifetimes(item);
    let statics = lifetimes.iter().map(|_| quote!('static));
    (!lifetimes.is_empty()).then(|| quote!(<#(#statics),*>))
}

fn statically(field: &Field) -> syn::Type {
    fields::with_lifetime(&field.ty, "static")
}

pub(crate) fn specs(fields: &[Field], of: &TokenStream) -> Vec<TokenStream> {
    let spec = |field: &Field| {
        let (name, ty) = (&field.name, statically(field));
        quote_spanned! {field.ty.span()=>
            ::wasmill_sdk::ColumnSpec {
                name: #name,
                data_type: <#ty as #of>::DATA_TYPE,
                nullable: <#ty as #of>::NULLABLE,
            }
        }
    };
    fields.iter().map(spec).collect()
}

/// `impl Shape`, with a builder for each field.
fn builders(item: &DeriveInput, fields: &[Field]) -> TokenStream {
    let sdk = quote!(::wasmill_sdk);
    let (name, statics) = (&item.ident, statics(item));
    let specs = specs(fields, &quote!(#sdk::OutputValue));
    let types: Vec<_> = fields
        .iter()
        .map(|field| {
            let ty = statically(field);
            quote_spanned!(field.ty.span()=> <#ty as #sdk::OutputValue>::Builder)
        })
        .collect();
    let indexes: Vec<_> = (0..fields.len()).map(syn::Index::from).collect();
    quote! {
        #[automatically_derived]
        impl #sdk::Shape for #name #statics {
            const COLUMNS: &'static [#sdk::ColumnSpec] = &[#(#specs),*];
            type Builders = (#(#types,)*);

            fn builders(rows: usize) -> Self::Builders {
                let mut builders = <Self::Builders as ::std::default::Default>::default();
                #(#sdk::__private::output::Builder::reserve(&mut builders.#indexes, rows);)*
                let _ = (rows, &mut builders);
                builders
            }

            fn finish(
                builders: Self::Builders,
                _rows: usize,
            ) -> ::std::result::Result<::std::vec::Vec<#sdk::__private::output::Column>, (usize, usize)> {
                let _ = &builders;
                ::std::result::Result::Ok(::std::vec![
                    #(#sdk::__private::output::Builder::finish(builders.#indexes)),*
                ])
            }
        }
    }
}

fn push(fields: &[Field], of: &TokenStream) -> Vec<TokenStream> {
    let one = |(at, field): (usize, &Field)| {
        let (ident, at) = (&field.ident, syn::Index::from(at));
        quote_spanned!(field.ty.span()=> #of::push(self.#ident, &mut builders.#at);)
    };
    fields.iter().enumerate().map(one).collect()
}
