/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Control and status registers; LoongArch Reference Manual, volume 1, chapter 7. */
#ifndef GMM_BARE_LOONGARCH64_CSR_NUMBERS_H
#define GMM_BARE_LOONGARCH64_CSR_NUMBERS_H

#define CSR_CRMD 0x0
#define CSR_PRMD 0x1
#define CSR_ECFG 0x4
#define CSR_ESTAT 0x5
#define CSR_ERA 0x6
#define CSR_BADV 0x7
#define CSR_EENTRY 0xc
#define CSR_ASID 0x18
#define CSR_PGDL 0x19
#define CSR_PGDH 0x1a
#define CSR_PGD 0x1b
#define CSR_PWCL 0x1c
#define CSR_PWCH 0x1d
#define CSR_STLBPS 0x1e
#define CSR_CPUID 0x20
#define CSR_SAVE_T0 0x30
#define CSR_SAVE_T1 0x31
#define CSR_SAVE_VCPU 0x32
#define CSR_SAVE_CPU 0x33
#define CSR_TLBRENTRY 0x88
#define CSR_TLBRBADV 0x89
#define CSR_TLBRSAVE 0x8b
#define CSR_TLBRELO0 0x8c
#define CSR_TLBRELO1 0x8d
#define CSR_TLBREHI 0x8e
#define CSR_DMW0 0x180
#define CSR_DMW1 0x181

#endif
