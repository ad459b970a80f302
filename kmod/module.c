/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#include <linux/module.h>

#include <gmm_port/alloc.h>

#include "device_impl.h"

static int __init gmm_module_init(void)
{
	return gmm_device_register();
}

static void __exit gmm_module_exit(void)
{
	gmm_device_unregister();
	gmm_port_alloc_flush();
}

module_init(gmm_module_init);
module_exit(gmm_module_exit);
MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("The memory half of a hypervisor");
