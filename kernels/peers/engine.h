#ifndef SEPBENCH_PEERS_ENGINE_H
#define SEPBENCH_PEERS_ENGINE_H
static inline void engine_use(const char *kind, const char *path) { (void)kind, (void)path; }
#endif
