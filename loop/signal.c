#include "loop/signal.h"
