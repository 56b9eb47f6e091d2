//! Planning the lists of FROM.

use super::Scope;
use crate::catalog::Catalog;
use crate::compile::{checked, executable};
use crate::messages::{excerpt, planning_mistake, type_name};
use crate::query::{self, SQL, Transform};
use crate::unnest::{Copies, Unnest, elements};
use datafusion_sql::sqlparser::ast::{SelectItem, TableWithJoins};
use weir_model::mistake::Mistake;

/// Plans each list, over the input and the elements of the lists before it, and adds a table of its
/// elements to `catalog`.
pub(crate) fn plan_unnests(
    catalog: &mut Catalog,
    transform: &Transform,
) -> Result<Vec<Unnest>, Vec<Mistake>> {
    let mut unnests = Vec::new();
    for (index, unnest) in transform.unnests.iter().enumerate() {
        let TableWithJoins { relation, joins } = &transform.from;
        let joins = joins[..index].to_vec();
        let from = TableWithJoins { relation: relation.clone(), joins };
        let planned = plan(catalog, unnest, from, index)?;
        let name = &unnest.name.value;
        if !catalog.add_table(name, planned.elements.clone()) {
            let what = format!("FROM has two tables with the name `{name}`");
            return Err(vec![Mistake::new(SQL, what).hint(format!("{} AS item", planned.text))]);
        }
        unnests.push(planned);
    }
    Ok(unnests)
}

fn plan(
    catalog: &Catalog,
    unnest: &query::Unnest,
    from: TableWithJoins,
    index: usize,
) -> Result<Unnest, Vec<Mistake>> {
    let failed = |e| vec![planning_mistake(SQL, &e)];
    let list = checked(SQL, unnest.list.clone(), catalog)?;
    let text = format!("unnest({})", excerpt(&list));
    let (scope, _) = Scope::new(catalog, from, index).map_err(failed)?;
    let planned = scope.plan(SQL, SelectItem::UnnamedExpr(list))?;
    let [planned] = planned.as_slice() else {
        return Err(vec![Mistake::new(SQL, format!("`{text}` is not of one list"))]);
    };
    let of = elements(&planned.data_type, &unnest.name.value, &unnest.columns, unnest.ordinality);
    let Some(elements) = of else {
        let what = format!("`{text}` is of {}, not of a list", type_name(&planned.data_type));
        return Err(vec![Mistake::new(SQL, what)]);
    };
    if unnest.columns.len() > elements.fields().len() {
        let what = format!(
            "`{text}` has {} columns, and {} names",
            elements.fields().len(),
            unnest.columns.len()
        );
        return Err(vec![Mistake::new(SQL, what)]);
    }
    let view = scope.view([&planned.expr]).map_err(failed)?;
    let list = executable(&view, SQL, &planned.expr)?;
    let (ordinality, is_inner) = (unnest.ordinality, unnest.is_inner);
    let copies = Copies::default();
    Ok(Unnest { text, view, list, elements, ordinality, is_inner, copies })
}
