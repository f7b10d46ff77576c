//! `#[derive(Inputs)]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Fields, GenericParam, Lifetime, Result, Type, spanned::Spanned};

use crate::fields;

pub(crate) fn inputs(item: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &item.data else {
        return Err(Error::new(
            item.ident.span(),
            "`Inputs` can only be derived for an enum: each variant is an input. A single input is a struct with \
             `#[derive(InputRow)]`",
        ));
    };
    let mut lifetimes = 0;
    for parameter in &item.generics.params {
        lifetimes += 1;
        if !matches!(parameter, GenericParam::Lifetime(_)) || lifetimes > 1 {
            return Err(Error::new(
                parameter.span(),
                "`Inputs` can have one lifetime, that of the batch, and no other parameter",
            ));
        }
    }
    let mut rows: Vec<(&syn::Ident, Type)> = Vec::new();
    for variant in &data.variants {
        match &variant.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                rows.push((&variant.ident, fields::with_lifetime(&fields.unnamed[0].ty, "batch")));
            }
            _ => {
                let message = "a variant of `Inputs` holds one struct with `#[derive(InputRow)]`";
                return Err(Error::new(variant.span(), message));
            }
        }
    }
    if rows.is_empty() {
        return Err(Error::new(item.ident.span(), "an operator needs at least one input"));
    }
    let (sdk, name) = (quote!(::wasmill_sdk), &item.ident);
    let lifetime = Lifetime::new("'batch", Span::call_site());
    let generics = (lifetimes > 0).then(|| quote!(<#lifetime>));
    let columns = rows
        .iter()
        .map(|(_, ty)| quote_spanned!(ty.span()=> <#ty as #sdk::Requires>::COLUMNS));
    let views = rows
        .iter()
        .map(|(_, ty)| quote_spanned!(ty.span()=> <#ty as #sdk::InputRow<#lifetime>>::Views));
    let opened = rows
        .iter()
        .enumerate()
        .map(|(at, (_, ty))| quote_spanned!(ty.span()=> <#ty as #sdk::InputRow<#lifetime>>::views(&batches[#at])?));
    let count = rows.len();
    let read = rows.iter().enumerate().map(|(at, (variant, ty))| {
        let place = syn::Index::from(at);
        let pattern = if at + 1 == count { quote!(_) } else { quote!(#at) };
        quote_spanned! {ty.span()=>
            #pattern => Self::#variant(<#ty as #sdk::InputRow<#lifetime>>::read(&views.#place, row))
        }
    });
    let misfit = format!("the operator reads {count} inputs, and the call has another number of them");
    Ok(quote! {
        #[automatically_derived]
        impl<#lifetime> #sdk::Inputs<#lifetime> for #name #generics {
            const COLUMNS: &'static [&'static [#sdk::ColumnSpec]] = &[#(#columns),*];
            const ALIKE: bool = false;
            type Views = (#(#views,)*);

            fn views(batches: &#lifetime [#sdk::RawBatch]) -> ::std::result::Result<Self::Views, #sdk::Failure> {
                if batches.len() != #count {
                    return ::std::result::Result::Err(#sdk::Failure::new(#misfit));
                }
                ::std::result::Result::Ok((#(#opened,)*))
            }

            #[inline]
            fn read(views: &Self::Views, input: usize, row: usize) -> Self {
                match input { #(#read),* }
            }
        }
    })
}
