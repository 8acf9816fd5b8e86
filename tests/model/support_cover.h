/*
** support_cover.h - chooses the events of cases, so that every pair and every triple of kinds happens in every order.
**
** A triple (x, y, z) counts where x happens before y and y before z in one case, and the connection does not begin anew
** in between. First each ordered pair becomes neighbours in some case; then events are chosen one by one, each the one
** that brings the most new triples. The same seed gives the same cases.
*/
#ifndef MODEL_COVER_H
#define MODEL_COVER_H

#include "support_case.h"

typedef struct model_cover model_cover;

model_cover *model_cover_create(uint32_t seed);
void model_cover_free(model_cover *cover);
/* The next case. Once everything is covered, it begins anew, with other choices. */
void model_cover_next(model_cover *cover, model_case *c);
/* Parts of all, from 0 to 1; above 1 from the second round on. */
double model_cover_pairs(const model_cover *cover);
double model_cover_triples(const model_cover *cover);

#endif
