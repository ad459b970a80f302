/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <guestmm/linux/source.h>

int gmm_source_ops_check(const struct gmm_source_ops *ops)
{
	if (!ops || ops->version != GMM_SOURCE_OPS_VERSION || !ops->name)
		return -GMM_EINVAL;
	if (!ops->size || !ops->read || !ops->is_zero || !ops->check || !ops->failure ||
	    !ops->close)
		return -GMM_EINVAL;
	return 0;
}

void gmm_source_close(struct gmm_source *source)
{
	if (source->ops)
		source->ops->close(source->source);
	*source = (struct gmm_source){ 0 };
}
