//! Users' own choices of how often they are told, per practice and category (COR-30).
