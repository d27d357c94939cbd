// How emptiness is learned: each cell keeps a decaying maximum of the optical thickness seen in it.
#pragma once
#include "desc.h"
#include "platform.h"

NS_BEGIN

template <class T>
NS_HD T occupancy_decay(T value, float decay) { return value * decay; }
// A cell is kept when it is thick enough, or thicker than most while everything is still fog.
NS_HD float occupancy_threshold(float threshold, float mean) { return ns_min(threshold, mean); }

// The cell of the coarse grid that an occupancy cell's coordinate falls in.
NS_HD int coarse_cell(int cell, int resolution) { return cell * kCoarse / resolution; }

NS_END
