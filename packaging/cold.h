/* Which functions of mypyc's runtime are called for errors alone: what leads to them is kept apart from the rest. */
#include <stddef.h>
struct _object;
void CPy_AddTraceback(const char *, const char *, int, struct _object *) __attribute__((cold));
void CPy_AttributeError(const char *, const char *, const char *, const char *, int, struct _object *) __attribute__((cold));
void CPyTagged_DecRef(size_t) __attribute__((cold)); /* of integers beyond 62 bits */
void CPyTagged_IncRef(size_t) __attribute__((cold));
void CPy_Raise(struct _object *) __attribute__((cold));
void CPy_TypeError(const char *, struct _object *) __attribute__((cold));
void CPy_TypeErrorTraceback(const char *, const char *, int, struct _object *, const char *, struct _object *) __attribute__((cold));
static void CPy_DecRef(struct _object *) __attribute__((cold)); /* the usual ones are inlined */
static void CPy_XDecRef(void *) __attribute__((cold));
